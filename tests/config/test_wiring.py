"""Each setting arrives at its own place, and at no other; without settings everything has the defaults of the code."""

from __future__ import annotations

import inspect
import logging
import math
import os
import os.path
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from driftgauge.agent.api.access import ROLES
from driftgauge.agent.api.build import rate_limit
from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.extraction import build as extraction
from driftgauge.agent.gateway.parts import Parts
from driftgauge.agent.gateway.worker import proxy_of
from driftgauge.agent.labelling import build as labelling
from driftgauge.agent.labelling.judging import Entry
from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.agent import EventTime, jobs, open_agent
from driftgauge.agent.service.fit_files import save_fit
from driftgauge.config.annotation import ArgillaSettings, LabelStudioSettings
from driftgauge.config.delivery import DeliverySettings
from driftgauge.config.estimation import LabelMappingSettings
from driftgauge.config.extraction import ExtractSettings
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.lookup import Lookup
from driftgauge.connectors.files.journal import Journal
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.sentence_encoder import encode
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Rejected
from driftgauge.models.labels import USE_BY_SOURCE
from tests.store.examples import response
from tests.store.test_faults import sqlite_connections

PLACES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "select.only": ({"model": ("llama-*",)}, ("pipeline.selection.only",)),
    "select.leave_out": ({"domain": ("law", "tax")}, ("pipeline.selection.leave_out",)),
    "features.set": ("published", ("pipeline.features.set", "reader.spec.set", "decoder.features.set")),
    "features.entropy": (
        "renormalised",
        ("pipeline.features.entropy", "reader.spec.entropy", "decoder.features.entropy"),
    ),
    "features.segments": (True, ("pipeline.features.segments", "reader.spec.segments", "decoder.features.segments")),
    "features.min_coverage": (0.7, ("pipeline.min_coverage", "reader.min_coverage")),
    "classifier.kind": ("neural_network", ("pipeline.committee.champion",)),
    "classifier.challengers": (("gradient_boosting",), ("pipeline.committee.challengers",)),
    "classifier.min_labels": (11, ("pipeline.committee.min_labels",)),
    "classifier.memory_labels": (12, ("pipeline.committee.memory_labels",)),
    "classifier.correct_domains": (False, ("pipeline.committee.correct_domains",)),
    "classifier.refit_every_labels": (13, ("pipeline.committee.refit_every_labels",)),
    "classifier.max_training_rows": (114, ("pipeline.committee.max_training_rows",)),
    "classifier.promote_after_labels": (15, ("pipeline.committee.promote_after_labels",)),
    "classifier.promote_error": (0.016, ("pipeline.committee.promote_error",)),
    "classifier.round_labels": (17, ("pipeline.committee.round_labels",)),
    "classifier.gate_auroc": (0.18, ("pipeline.committee.gate_auroc",)),
    "classifier.gate_min_labels": (19, ("pipeline.committee.gate_min_labels",)),
    "classifier.max_versions": (21, ("pipeline.committee.max_versions",)),
    "classifier.seed": (22, ("pipeline.seed", "pipeline.committee.seed", "pipeline.label_plan.seed")),
    "windows.window_s": (23_000.0, ("pipeline.windows.window_s",)),
    "windows.window_events": (24, ("pipeline.windows.window_events",)),
    "windows.hop_s": (25.0, ("pipeline.windows.hop_s",)),
    "windows.max_ahead_s": (71.0, ("pipeline.max_ahead_s",)),
    "windows.max_jump_s": (72.0, ("pipeline.max_jump_s",)),
    "windows.idle_after_s": (73.0, ("pipeline.idle_after_s",)),
    "windows.allowed_lateness_s": (26.0, ("pipeline.allowed_lateness_s",)),
    "windows.emit_every_events": (27, ("pipeline.emit_every_events",)),
    "windows.emit_every_labels": (28, ("pipeline.emit_every_labels",)),
    "windows.material_change": (0.29, ("pipeline.material_change",)),
    "labels.scale": ((1.0, 5.0), ("pipeline.label_scale", "decoder.label_scale")),
    "labels.policy": ("mean", ("pipeline.label_policy",)),
    "labels.horizon_s": (31.0, ("pipeline.label_horizon_s",)),
    "labels.max_pending": (32, ("pipeline.max_pending_labels",)),
    "labels.unknown_probability": ("ignore_in_estimates", ("pipeline.label_use.unknown",)),
    "labels.sources": ({"thumbs": "ignore"}, ("pipeline.label_use.by_source",)),
    "labels.smallest_inclusion_probability": (
        0.033,
        ("pipeline.smallest_inclusion_probability", "pipeline.committee.smallest_inclusion_probability"),
    ),
    "acquisition.labels_per_period": (91, ("pipeline.label_plan.budget.n",)),
    "acquisition.labels_in_all": (92, ("pipeline.label_plan.n_in_all",)),
    "acquisition.labels_per_domain": (93, ("pipeline.label_plan.budget.per_domain",)),
    "acquisition.target_width": (0.094, ("pipeline.label_plan.budget.target_width",)),
    "acquisition.base_labels": (95, ("pipeline.label_plan.budget.base",)),
    "acquisition.across": ("equal", ("pipeline.label_plan.budget.across",)),
    "acquisition.within": ("uniform", ("pipeline.label_plan.within",)),
    "acquisition.period_s": (7_200.0, ("pipeline.label_plan.period_s",)),
    "acquisition.expires_after": (9, ("pipeline.label_plan.expires_after",)),
    "acquisition.link": ("https://traces/{response_id}", ("pipeline.label_plan.link",)),
    "estimates.confidence_level": (0.83, ("pipeline.confidence_level", "report.confidence_level")),
    "estimates.min_events": (36, ("pipeline.min_events",)),
    "slices.estimate": (("language", "language, tenant"), ("pipeline.slices.combinations",)),
    "slices.max_values": (7, ("pipeline.slices.max_values",)),
    "slices.max_estimates": (8, ("pipeline.slices.max_estimates",)),
    "slices.weak_segments": (False, ("pipeline.slices.finds_weak",)),
    "slices.weak_span_s": (9_000.0, ("pipeline.slices.weak_span_s",)),
    "slices.weak_min_labels": (31, ("pipeline.slices.weak_min_labels",)),
    "slices.weak_false_alarms": (0.03, ("pipeline.slices.weak_false_alarms",)),
    "drift.enabled": (False, ("pipeline.detect_drift",)),
    "drift.false_warnings": (0.37, ("pipeline.drift_false_warnings",)),
    "drift.horizon_s": (3_600.0, ("pipeline.drift_horizon_s",)),
    "drift.season": ("week", ("pipeline.drift_season",)),
    "drift.detector": ("adwin", ("pipeline.drift_detector",)),
    "drift.features": (("perplexity",), ("pipeline.drift_features",)),
    "alerts.sustained_s": ({"drift": 61.0}, ("pipeline.alerts.sustained_s",)),
    "alerts.min_sample": ({"drift": 62}, ("pipeline.alerts.min_sample",)),
    "alerts.resolve_after_s": (6_300.0, ("pipeline.alerts.resolve_after_s",)),
    "alerts.repeat_s": (64.0, ("pipeline.alerts.repeat_s",)),
    "alerts.no_data_s": (65.0, ("pipeline.alerts.no_data_s",)),
    "alerts.link": ("https://rows.example/{since}", ("pipeline.alert_link",)),
    "bounds.max_open_alerts": (66, ("pipeline.alerts.max_open",)),
    "targets.default": (0.38, ("pipeline.default_target", "report.default_target")),
    "targets.domains": ({"math": 0.39}, ("pipeline.targets", "report.targets")),
    "targets.false_alarms": (0.041, ("pipeline.false_alarms",)),
    "bounds.max_domains": (42, ("pipeline.max_domains", "pipeline.committee.max_domains")),
    "bounds.max_in_flight": (43, ("pipeline.assembly.max_in_flight",)),
    "bounds.max_waiting_chunks": (44, ("pipeline.assembly.max_waiting",)),
    "bounds.in_flight_expiry_s": (45.0, ("pipeline.assembly.expiry_s",)),
    "bounds.windows_at_once": (46, ("pipeline.windows_at_once",)),
    "context.warm_start": (True, ("pipeline.warm_start",)),
    "context.max_fingerprints": (47, ("pipeline.max_fingerprints",)),
    "predictions.publish": ("final", ("pipeline.predictions",)),
    "topics.enabled": (True, ("pipeline.topics.enabled", "decoder.keeps_embeddings")),
    "topics.max_topics": (110, ("pipeline.topics.max_topics",)),
    "topics.similarity": (0.61, ("pipeline.topics.similarity",)),
    "topics.min_responses": (62, ("pipeline.topics.min_responses",)),
    "topics.silent_s": (63.0, ("pipeline.topics.silent_s",)),
    "topics.embedding": (("metadata.vector",), ("decoder.embeddings.paths",)),
    "topics.encoder": ("wordllama", ("decoder.embeddings.encoder", "gateway.names.embeddings.encoder")),
    "topics.prompt": (("request.prompt",), ("decoder.embeddings.prompts",)),
    "kafka.bootstrap_servers": (("a:1",), ("connection.bootstrap_servers",)),
    "kafka.security_protocol": ("SSL", ("connection.security_protocol",)),
    "kafka.sasl_mechanism": ("PLAIN", ("connection.sasl_mechanism",)),
    "kafka.sasl_username": ("me", ("connection.sasl_username",)),
    "kafka.sasl_password": ("planted", ("connection.sasl_password",)),
    "kafka.ssl_cafile": ("ca.pem", ("connection.ssl_cafile",)),
    "kafka.ssl_key_password": ("other", ("connection.ssl_key_password",)),
    "kafka.ssl_check_hostname": (False, ("connection.ssl_check_hostname",)),
    "kafka.client_id": ("named", ("connection.client_id",)),
    "kafka.connect_timeout_s": (48.0, ("connection.connect_timeout_s",)),
    "kafka.group_id": ("group", ("source.group_id",)),
    "kafka.max_records": (49, ("source.max_records",)),
    "kafka.max_bytes": (51 << 20, ("source.max_bytes",)),
    "kafka.max_unpacked_bytes": (52 << 20, ("source.max_unpacked_bytes",)),
    "kafka.on_lost": ("earliest", ("source.on_lost",)),
    "kafka.stall_timeout_s": (53.0, ("source.stall_timeout_s",)),
    "kafka.patience_s": (54.0, ("loop.patience_s",)),
    "kafka.pause_after_s": (55.0, ("loop.pause_after_s",)),
    "kafka.partitions": (71, ("topic_creation.partitions",)),
    "kafka.replication": (72, ("topic_creation.replication",)),
    "kafka.topics.generations": (("g",), ("topics.generations_read",)),
    "kafka.topics.labels": (("l",), ("topics.labels_read",)),
    "kafka.topics.estimates": ("e", ("topics.estimates",)),
    "kafka.topics.alerts": ("a", ("topics.alerts",)),
    "kafka.topics.priorities": ("p", ("topics.priorities",)),
    "kafka.topics.label_lists": ("n", ("topics.label_lists",)),
    "kafka.topics.slice_estimates": ("n", ("topics.slice_estimates",)),
    "kafka.topics.weak_segments": ("n", ("topics.weak_segments",)),
    "kafka.topics.reports": ("w", ("topics.reports",)),
    "kafka.topics.predictions": ("q", ("topics.predictions",)),
    "kafka.topics.dead_letters": ("d", ("topics.dead_letters",)),
    "decode.format": ("openai", ("decoder.format",)),
    "decode.encoding": ("msgpack", ("decoder.encoding",)),
    "decode.topic_formats": ({"t": "openai"}, ("decoder.topic_formats",)),
    "decode.default_domain": ("law", ("decoder.default_domain",)),
    "decode.keep_text": (True, ("decoder.keep_text",)),
    "decode.payload": ("response.body", ("decoder.payload_path",)),
    "decode.ignored_content_types": (("text/plain",), ("decoder.ignored_content_types",)),
    "decode.response_id": (("key",), ("decoder.names.response_id",)),
    "decode.aliases": (("trace_id",), ("decoder.names.aliases",)),
    "decode.single_choice": (True, ("decoder.names.single_choice",)),
    "decode.domain.paths": (("topic",), ("decoder.names.domain.paths",)),
    "decode.domain.values": ({"a": "b"}, ("decoder.names.domain.values",)),
    "decode.domain.patterns": ({"c": "d"}, ("decoder.names.domain.patterns",)),
    "decode.model_revision.paths": (("header.x",), ("decoder.names.model_revision.paths",)),
    "decode.model_revision.values": ({"e": "f"}, ("decoder.names.model_revision.values",)),
    "decode.model_revision.patterns": ({"g": "h"}, ("decoder.names.model_revision.patterns",)),
    "decode.slices": ({"language": "metadata.lang"}, ("decoder.names.slices",)),
    "decode.limits.max_bytes": (56 << 10, ("decoder.limits.max_bytes",)),
    "decode.limits.max_tokens": (57, ("decoder.limits.max_tokens",)),
    "decode.limits.max_k": (58, ("decoder.limits.max_k",)),
    "decode.limits.max_choices": (59, ("decoder.limits.max_choices",)),
    "store.url": ("sqlite:///other.db", ("report.store_url",)),
    "gateway.refused_pause_s": (81.0, ("gateway.pause_s",)),
    "gateway.upstream": ("http://b:2/base", ("gateway.upstream.url",)),
    "gateway.connect_timeout_s": (91.0, ("gateway.upstream.connect_timeout_s",)),
    "gateway.read_timeout_s": (92.0, ("gateway.upstream.read_timeout_s",)),
    "gateway.keepalive_s": (93.0, ("gateway.upstream.keepalive_s",)),
    "gateway.labels_token": ("planted", ("gateway.labels",)),
    "gateway.events_token": ("planted", ("gateway.events",)),
    "gateway.capture.models": (("m",), ("gateway.capture.models",)),
    "gateway.capture.endpoints": (("chat",), ("gateway.capture.endpoints",)),
    "gateway.capture.omits_logprobs": (("chat",), ("gateway.capture.omits_key",)),
    "gateway.capture.k": (7, ("gateway.capture.k",)),
    "gateway.capture.sampling": (0.84, ("gateway.capture.sampling",)),
    "gateway.capture.domain_sampling": ({"law": 0.5}, ("gateway.capture.domain_sampling",)),
    "gateway.capture.keep_text": (True, ("gateway.capture.keep_text",)),
    "gateway.capture.keep_token_ids": (True, ("gateway.capture.keep_token_ids",)),
    "gateway.capture.model_revision": ("r2", ("gateway.capture.parameters.revision",)),
    "gateway.capture.logprobs_mode": ("raw_logprobs", ("gateway.capture.parameters.logprobs_mode",)),
    "gateway.limits.max_request_bytes": (85 << 20, ("gateway.max_request_bytes",)),
    "gateway.limits.max_body_bytes": (86 << 20, ("gateway.capture.max_body_bytes",)),
    "gateway.limits.max_line_bytes": (7 << 20, ("gateway.capture.max_line_bytes",)),
    "gateway.limits.max_tokens": (88, ("gateway.capture.max_tokens",)),
    "gateway.limits.max_open_bytes": (89 << 20, ("gateway.max_open_bytes",)),
    "gateway.limits.max_parser_bytes": (90 << 20, ("gateway.max_parser_bytes",)),
    "gateway.domain.found.paths": (("user",), ("gateway.names.domain.paths",)),
    "gateway.domain.found.values": ({"a": "b"}, ("gateway.names.domain.values",)),
    "gateway.domain.found.patterns": ({"c": "d"}, ("gateway.names.domain.patterns",)),
    "gateway.domain.keys": ({"0f" * 32: "law"}, ("gateway.names.keys",)),
    "gateway.domain.models": ({"m": "law"}, ("gateway.names.models",)),
    "gateway.domain.function": ("os.path:basename", ("gateway.names.function",)),
    "gateway.domain.allowed": (("law",), ("gateway.names.allowed",)),
    "gateway.domain.max_domains": (82, ("gateway.names.max_domains",)),
    "gateway.domain.slices": ({"language": "metadata.lang"}, ("gateway.names.slices",)),
    "gateway.capture.prompt_hash_key": ("planted", ("gateway.names.prompt_hash_key",)),
    "gateway.limits.max_outbox_bytes": (83 << 20, ("gateway.max_outbox_bytes",)),
    "probes.url": ("http://c:3/base", ("probes.server.address",)),
    "probes.cafile": ("ca.pem", ("probes.server.cafile",)),
    "probes.key_from": ("PATH", ("probes.server.api_key",)),
    "probes.timeout_s": (94.0, ("probes.server.timeout_s",)),
    "probes.model": ("other", ("probes.model",)),
    "probes.k": (8, ("probes.k",)),
    "probes.temperature": (0.7, ("probes.temperature",)),
    "probes.max_tokens": (95, ("probes.max_tokens",)),
    "probes.pause_s": (96.0, ("probes.pause_s",)),
    "judge.url": ("http://d:4/base", ("judge.server.address",)),
    "judge.cafile": ("ca.pem", ("judge.server.cafile",)),
    "judge.key_from": ("PATH", ("judge.server.api_key",)),
    "judge.timeout_s": (97.0, ("judge.server.timeout_s",)),
    "judge.name": ("careful", ("judge.rules.name",)),
    "judge.share": (0.41, ("judge.rules.share",)),
    "judge.seed": (98, ("judge.rules.seed",)),
    "judge.template": ("Is $response right?", ("judge.rules.template",)),
    "judge.response_format": ("none", ("judge.rules.response_format",)),
    "judge.temperature": (0.6, ("judge.rules.temperature",)),
    "judge.max_answer_tokens": (99, ("judge.rules.max_answer_tokens",)),
    "judge.limit_field": ("max_completion_tokens", ("judge.rules.limit_field",)),
    "judge.max_calls_per_run": (101, ("judge.run.calls",)),
    "judge.max_calls_per_day": (102, ("judge.day.calls",)),
    "judge.max_tokens_per_run": (103, ("judge.run.tokens",)),
    "judge.max_tokens_per_day": (104, ("judge.day.tokens",)),
    "judge.price_sent": (1.5, ("judge.prices.sent",)),
    "judge.price_received": (2.5, ("judge.prices.received",)),
    "report.folder": ("elsewhere", ("report.folder",)),
    "report.timezone": ("Europe/Berlin", ("report.timezone",)),
    "report.period_s": (61.0, ("report.period_s",)),
    "report.formats": (("json",), ("report.formats",)),
    "logging.level": ("debug", ("reader.log_level",)),
    "logging.json_lines": (True, ("reader.log_json_lines",)),
}
"""A value that is not the default, and the places where it must arrive; `built` names the places."""

ARRIVES_AS: dict[str, Any] = {
    "topics.embedding": (("payload", "metadata", "vector"),),
    "topics.encoder": encode,
    "topics.prompt": (("payload", "request", "prompt"),),
    "slices.estimate": (("language",), ("language", "tenant")),
    "labels.unknown_probability": "teach",
    "labels.sources": {**USE_BY_SOURCE, "thumbs": "ignore"},
    "labels.scale": "1 to 5",
    "decode.payload": ("response", "body"),
    "decode.ignored_content_types": frozenset({"text/plain"}),
    "decode.response_id": (("key",),),
    "decode.aliases": (("payload", "trace_id"),),
    "decode.domain.paths": (("topic",),),
    "decode.model_revision.paths": (("header", "x"),),
    "gateway.domain.found.paths": (("payload", "user"),),
    "gateway.labels_token": b"planted",
    "gateway.events_token": b"planted",
    "gateway.capture.models": frozenset({"m"}),
    "gateway.capture.endpoints": frozenset({"chat"}),
    "gateway.capture.omits_logprobs": frozenset({"chat"}),
    "gateway.domain.function": os.path.basename,
    "gateway.domain.allowed": frozenset({"law"}),
    "gateway.domain.slices": {"language": Lookup((("payload", "metadata", "lang"),))},
    "gateway.capture.prompt_hash_key": b"planted",
    "decode.slices": {"language": Lookup((("payload", "metadata", "lang"),))},
    "probes.key_from": os.environ["PATH"],
    "judge.key_from": os.environ["PATH"],
}
"""The value at the place, where it is not the value of the setting."""

TESTED_ELSEWHERE = {
    *(f"labels.mapping.{name}" for name in LabelMappingSettings.model_fields),  # tests/labels
    *(f"annotation.{name}" for name in ("topic", "host", "port")),  # tests/annotation
    *(f"annotation.label_studio.{name}" for name in LabelStudioSettings.model_fields),  # tests/annotation
    *(f"annotation.argilla.{name}" for name in ArgillaSettings.model_fields),  # tests/annotation
    *(f"delivery.{name}" for name in DeliverySettings.model_fields),  # tests/delivery
    *(f"extract.{name}" for name in ExtractSettings.model_fields),  # tests/kafka/test_extract.py
    *("context.start_from", "kafka.ssl_certfile", "kafka.ssl_keyfile"),  # below
    *("store.synchronous", "store.max_dead_letters", "store.max_dead_letter_bytes"),  # below
    *("kafka.create_topics", "kafka.readers"),  # tests/kafka, on a broker
    *("server.enabled", "server.host", "server.port"),  # below
    *(f"server.tokens.{role}" for role in ROLES),  # tests/api
    "server.requests_per_s",  # below
    *("report.cron", "report.interval_s", "report.period"),  # below
    *("probes.file", "probes.cron", "probes.allow_functions", "probes.journal"),  # tests/labelling
    *("judge.model", "judge.max_cost_per_run", "judge.max_cost_per_day"),  # below
    *("judge.concurrency", "judge.max_text_bytes", "judge.ledger"),  # below and tests/labelling
    *("store.retention_s", "store.daily_retention_s"),  # below
    *("gateway.host", "gateway.port", "gateway.status_port", "gateway.workers", "gateway.drain_s"),  # tests/gateway
    *("gateway.tls_certfile", "gateway.tls_keyfile", "gateway.upstream_cafile"),  # below
}

NO_SETTING = {
    *("pipeline.fitted", "pipeline.assembly.trailer_wait_s", "source.share", "gateway.upstream.ssl"),
    *(f"{section}.server.{name}" for section in ("probes", "judge") for name in ("connect_timeout_s", "headers")),
    *("judge.rules.model", "judge.run.cost", "judge.day.cost"),
    *("gateway.names.embeddings.paths", "gateway.names.embeddings.prompts"),
    *(f"gateway.capture.parameters.{name}" for name in ("temperature", "top_p", "k")),
}
"""Places that no single setting fills."""


def flat(name: str, value: Any) -> dict[str, Any]:
    """Every value in a dataclass, or in the keywords of a partial call, by its path."""
    if is_dataclass(value):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, partial):
        inner = dict(value.keywords)
    else:
        return {name: value}
    return {path: v for key, v_in in inner.items() for path, v in flat(f"{name}.{key}", v_in).items()}


def built(settings: Settings) -> dict[str, Any]:
    """Everything that is built from settings without reaching for anything outside, value by value."""
    task, made = build.reader_task(settings, 0), build_decoding.decoder(settings)
    loop = build.loop(settings, MemoryStore(), (), threading.Event())
    topics = settings.kafka.topics
    split = len(topics.generations)
    return {
        **flat("pipeline", build_pipeline.pipeline_settings(settings)),
        **flat("connection", build.connection(settings)),
        **{f"topics.{kind}": topic for kind, topic in build.topics_written(settings).items()},
        **flat("topic_creation", build.topic_creation(settings)),
        "topics.generations_read": build.topics_read(settings)[:split],
        "topics.labels_read": build.topics_read(settings)[split:],
        **{f"decoder.{name}": getattr(made, name) for name in ("format", "encoding", "topic_formats")},
        **{f"decoder.{name}": getattr(made, name) for name in ("default_domain", "keep_text")},
        **{f"decoder.{name}": getattr(made, name) for name in ("payload_path", "ignored_content_types")},
        **flat("decoder.names", made.names),
        **flat("decoder.embeddings", build_decoding.embedding_rules(settings)),
        "decoder.keeps_embeddings": made.embeddings is not None,
        "decoder.label_scale": made.label_scale.description,
        **flat("decoder.limits", made.limits),
        **flat("decoder.features", made.features),
        **flat("source", task.open_source),
        **flat("reader.spec", task.extractor.spec),
        "reader.min_coverage": task.extractor.min_coverage,
        **flat("report", build.report_writer(settings)),
        **built_gateway(settings),
        **flat("probes", labelling.asking(settings.probes, settings.probes.model or "m")),
        **built_judge(settings),
        "reader.log_level": task.log_level,
        "reader.log_json_lines": task.log_json_lines,
        "loop.patience_s": loop.backoff.limit_s,
        "loop.pause_after_s": loop.pause_after_s,
    }


def built_gateway(settings: Settings) -> dict[str, Any]:
    parts = Parts(settings, CollectorRegistry())
    proxy = proxy_of(settings.gateway, parts)
    doors = {door.kind: door for door in parts.doors}
    return {
        **flat("gateway.names", parts.capture.naming.rules),
        **flat("gateway.capture", parts.capture.rules),
        **flat("gateway.upstream", proxy._upstream),
        "gateway.pause_s": parts.capture.breaker.pause_s,
        "gateway.max_outbox_bytes": parts.outbox.max_bytes,
        "gateway.max_parser_bytes": parts.parser.max_bytes,
        "gateway.max_open_bytes": parts.memory.max_bytes,
        "gateway.max_request_bytes": proxy._max_request_bytes,
        "gateway.labels": vars(doors["labels"])["_token"] if "labels" in doors else None,
        "gateway.events": vars(doors["events"])["_token"] if "events" in doors else None,
    }


def built_judge(settings: Settings) -> dict[str, Any]:
    judge = settings.judge if settings.judge.model else settings.judge.model_copy(update={"model": "m"})
    limits = labelling.judge_limits(judge)
    return {
        **flat("judge.rules", labelling.judge_rules(judge)),
        **flat("judge.server", labelling.model_server(judge, "judge")),
        **{path: v for name, part in zip(("run", "day", "prices"), limits, strict=True)
           for path, v in flat(f"judge.{name}", part).items()},
    }  # fmt: skip


def names_of(section: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from names_of(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.mark.parametrize("setting", PLACES)
def test_a_setting_arrives_at_its_own_place_and_at_no_other(setting: str) -> None:
    value, places = PLACES[setting]
    before, after = built(Settings()), built(load_settings(overrides={setting: value}))
    changed = {place: after[place] for place in after if after[place] != before[place]}
    assert changed == dict.fromkeys(places, ARRIVES_AS.get(setting, value))


def test_every_setting_has_its_place_in_this_test() -> None:
    assert {*names_of(Settings)} == PLACES.keys() | TESTED_ELSEWHERE


def test_every_place_has_its_setting_in_this_test() -> None:
    filled = {place for _, places in PLACES.values() for place in places}
    together = {"connection.ssl_certfile", "connection.ssl_keyfile"}
    assert built(Settings()).keys() == filled | together | NO_SETTING


def test_certificate_and_key_which_are_only_valid_together_arrive_at_their_own_places() -> None:
    settings = load_settings(overrides={"kafka.ssl_certfile": "c.pem", "kafka.ssl_keyfile": "k.pem"})
    assert (build.connection(settings).ssl_certfile, build.connection(settings).ssl_keyfile) == ("c.pem", "k.pem")


def test_settings_of_the_judge_that_are_only_valid_together_arrive_at_their_own_places(tmp_path: Path) -> None:
    given = {"model": "large", "price_sent": 1, "max_cost_per_run": 3, "max_cost_per_day": 4}
    more = {"concurrency": 2, "max_text_bytes": 2_048}
    settings = load_settings(overrides={"judge": {**given, **more}})
    assert [limits.cost for limits in labelling.judge_limits(settings.judge)[:2]] == [3, 4]
    rules = labelling.judge_rules(settings.judge)
    assert (rules.model, rules.name) == ("large", "large")
    with closing(Journal(tmp_path / "ledger", Entry)) as ledger:
        made = vars(labelling.judging(settings.judge, ledger, threading.Event().wait, time.time))
    assert (made["_concurrency"], made["_max_text_bytes"]) == (2, 2_048)


def test_zero_memory_labels_means_that_no_label_fades() -> None:
    settings = load_settings(overrides={"classifier.memory_labels": 0})
    assert build_pipeline.committee_settings(settings).memory_labels is None


def test_new_contexts_start_from_the_file_that_is_configured(tmp_path: Path) -> None:
    context = ContextState(PipelineSettings())
    save_fit(tmp_path / "start.fit", context)
    settings = load_settings(overrides={"context.start_from": str(tmp_path / "start.fit")})
    assert build_pipeline.pipeline_settings(settings).fitted == context.snapshot()
    assert build_pipeline.unfitted_pipeline_settings(settings) == PipelineSettings()


def test_the_settings_of_the_store_arrive_at_their_own_places(tmp_path: Path) -> None:
    own = {"store.url": f"sqlite:///{tmp_path}/own.db", "store.synchronous": "full", "store.max_dead_letters": 4}
    settings = load_settings(overrides={**own, "store.max_dead_letter_bytes": 1 << 20})
    with sqlite_connections() as made, closing(build.store(settings)) as store:
        assert (tmp_path / "own.db").exists()
        assert made[0].execute("PRAGMA synchronous").fetchone() == (2,)
        for size, n_kept in ((10, 4), (600_000, 1)):
            with store.transaction() as transaction:
                transaction.emit([Rejected("malformed", "", value=b"x" * size)] * 5)
            assert len(store.newest(Rejected, 10)) == n_kept


def test_old_responses_expire_after_the_retention_of_the_settings() -> None:
    store, event_time = MemoryStore(), EventTime()
    with store.transaction() as transaction:
        transaction.add_responses([response(n, event_time=n * 86_400.0) for n in range(100)])
    (retention,) = jobs(load_settings(overrides={"store.retention_s": 40 * 86_400.0}), store, event_time)
    event_time.watermark = 100 * 86_400.0
    retention.work()
    assert {row.event_time for row in store.tables.responses.values()} == {n * 86_400.0 for n in range(60, 100)}
    assert jobs(load_settings(overrides={"store.retention_s": 0}), store, event_time) == []


def test_the_sums_of_old_days_expire_after_their_own_retention(tmp_path: Path) -> None:
    given = {"store.url": f"sqlite:///{tmp_path}/own.db", "store.retention_s": 40 * 86_400.0}
    settings, event_time = load_settings(overrides={**given, "store.daily_retention_s": 60 * 86_400.0}), EventTime()
    with closing(build.store(settings)) as store:
        with store.transaction() as transaction:
            transaction.add_responses([response(n, event_time=n * 86_400.0) for n in range(100)])
        (retention,) = jobs(settings, store, event_time)
        event_time.watermark = 100 * 86_400.0
        retention.work()
        with closing(open_queries(settings.store.url.get_secret_value())) as queries:
            assert queries.counts(-math.inf, math.inf)["law"].n_events == 60


@pytest.mark.parametrize(
    ("times", "expected"), [({"report.cron": "30 6 * * *"}, "6:30:00"), ({"report.interval_s": 1_800}, "0:30:00")]
)
def test_reports_are_written_at_the_times_of_the_settings(times: dict[str, Any], expected: str) -> None:
    report, _ = jobs(load_settings(overrides=times), MemoryStore(), EventTime())
    midnight = datetime(2026, 1, 1, tzinfo=UTC)
    assert report.name == "report"
    following = report.trigger.get_next_fire_time(midnight, midnight)
    assert following is not None
    assert str(following - midnight) == expected


@pytest.mark.parametrize(
    ("enabled", "lines"), [(True, ["dashboard, API, health and metrics on http://127.0.0.2:"]), (False, [])]
)
def test_the_http_server_listens_where_the_settings_say(
    enabled: bool, lines: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    own = {"server.enabled": enabled, "server.host": "127.0.0.2", "server.port": port}
    settings = load_settings(overrides={**own, "store.url": f"sqlite:///{tmp_path}/own.db"})
    with caplog.at_level(logging.INFO, "driftgauge"), open_agent(settings):
        reads = f"reads generations, labels; the store is sqlite:///{tmp_path}/own.db"
        assert caplog.messages == [*(f"{line}{port}" for line in lines), reads]


@pytest.mark.parametrize(("topics", "is_told"), [("generations", True), ("driftgauge.features,generations", False)])
def test_an_extractor_tells_when_the_agent_does_not_read_what_it_writes(
    topics: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    extraction.extractor(load_settings(overrides={"kafka.topics.generations": topics}), threading.Event())
    warning = "no agent with these settings reads driftgauge.features: kafka.topics.generations is generations"
    assert caplog.messages == ([warning] if is_told else [])


def test_a_client_may_ask_as_often_as_the_settings_say() -> None:
    assert rate_limit(load_settings(overrides={"server.requests_per_s": 7})).per_s == 7


def test_the_defaults_of_the_settings_are_those_of_the_code() -> None:
    assert build_pipeline.pipeline_settings(Settings()) == PipelineSettings()
    assert build.connection(Settings()) == KafkaConnection(("localhost:9092",))
    assert build.topics_written(Settings()) == Topics()
    made, plain = vars(build_decoding.decoder(Settings())), vars(Decoder())
    assert {**made, "maker": None} == {**plain, "maker": None}
    source = build.reader_task(Settings(), 0).open_source
    assert isinstance(source, partial)
    defaults = {name: parameter.default for name, parameter in inspect.signature(KafkaSource).parameters.items()}
    assert {**defaults, **source.keywords} == {**defaults, "share": (0, 0)}
