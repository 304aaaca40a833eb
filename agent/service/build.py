"""From settings to objects: the only place that knows both."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from driftgauge.agent.core.state import PipelineSettings, State
from driftgauge.agent.evaluation.fit import load_fit
from driftgauge.agent.outlets.http import Health, Server, routes
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.agent.outlets.report_files import write_report_now
from driftgauge.agent.service.loop import Backoff, Loop
from driftgauge.agent.service.reader_pool import Decoded, Readers
from driftgauge.agent.service.reader_process import Task
from driftgauge.agent.service.schedule import Job, Schedule, trigger
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, Record, Source, Store, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.kafka.client import KafkaConnection, KafkaSink, KafkaSource, create_topics
from driftgauge.connectors.kafka.history import Bound, KafkaHistory
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.classify.committee import CommitteeSettings
from driftgauge.models.outputs import Output
from driftgauge.models.signals.arrivals import with_features
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.windows import WindowSpec

log = logging.getLogger(__name__)

RETENTION_EVERY_S = 60.0
RETENTION_ROWS = 5_000
HISTORY_BYTES = 4 << 20
"""Fetched at once of each partition when the past of topics is read, which takes a client for each of them."""


def pipeline_settings(settings: Settings) -> PipelineSettings:
    """What the pipeline is told; the file that contexts start from is read here."""
    told = cold_settings(settings)
    if not settings.context.start_from:
        return told
    return replace(told, fitted=load_fit(Path(settings.context.start_from), told))


def cold_settings(settings: Settings) -> PipelineSettings:
    """The same for contexts that start from nothing."""
    windows, bounds = settings.windows, settings.bounds
    return PipelineSettings(
        windows=WindowSpec(windows.window_s, windows.window_events, windows.hop_s),
        committee=committee_settings(settings),
        assembly=AssemblySettings(bounds.max_in_flight, bounds.max_waiting_chunks, bounds.in_flight_expiry_s),
        entropy=settings.features.entropy,
        segments=settings.features.segments,
        min_coverage=settings.features.min_coverage,
        allowed_lateness_s=windows.allowed_lateness_s,
        emit_every_events=windows.emit_every_events,
        emit_every_labels=windows.emit_every_labels,
        material_change=windows.material_change,
        label_policy=settings.labels.policy,
        count_unknown_labels=settings.labels.unknown_probability == "weight_one",
        label_horizon_s=settings.labels.horizon_s,
        max_pending_labels=settings.labels.max_pending,
        confidence_level=settings.estimates.confidence_level,
        min_events=settings.estimates.min_events,
        refit_estimator_every_labels=settings.estimates.refit_every_labels,
        max_training_rows=settings.estimates.max_training_rows,
        detect_drift=settings.drift.enabled,
        drift_delta=settings.drift.delta,
        drift_features=settings.drift.features,
        targets=settings.targets.domains,
        default_target=settings.targets.default,
        false_alarms=settings.targets.false_alarms,
        max_domains=bounds.max_domains,
        max_fingerprints=settings.context.max_fingerprints,
        max_stale_windows=bounds.max_stale_windows,
        warm_start=settings.context.warm_start,
        predictions=settings.predictions.publish,
        seed=settings.classifier.seed,
    )


def committee_settings(settings: Settings) -> CommitteeSettings:
    """What the committee of a context is told."""
    classifier = settings.classifier
    return CommitteeSettings(
        champion=classifier.kind,
        challengers=classifier.challengers,
        min_labels=classifier.min_labels,
        memory_labels=classifier.memory_labels or None,
        imbalance=classifier.imbalance,
        correct_domains=classifier.correct_domains,
        refit_every_labels=classifier.refit_every_labels,
        max_training_rows=classifier.max_training_rows,
        promote_after_labels=classifier.promote_after_labels,
        promote_error=classifier.promote_error,
        round_labels=classifier.round_labels,
        gate_auroc=classifier.gate_auroc,
        gate_min_labels=classifier.gate_min_labels,
        max_versions=classifier.max_versions,
        max_domains=settings.bounds.max_domains,
        seed=classifier.seed,
    )


def decoder(settings: Settings) -> Decoder:
    """The decoder of records."""
    decode = settings.decode
    return Decoder(
        format=decode.format,
        encoding=decode.encoding,
        topic_formats=decode.topic_formats,
        default_domain=decode.default_domain,
        keep_text=decode.keep_text,
        limits=Limits(**decode.limits.model_dump()),
    )


def connection(settings: Settings) -> KafkaConnection:
    """How to reach the Kafka cluster."""
    kafka = settings.kafka
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.sasl_password.get_secret_value(),
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        ssl_key_password=kafka.ssl_key_password.get_secret_value(),
        ssl_check_hostname=kafka.ssl_check_hostname,
        client_id=kafka.client_id,
        connect_timeout_s=kafka.connect_timeout_s,
    )


def topics_read(settings: Settings) -> tuple[str, ...]:
    """Topics the agent reads."""
    return (*settings.kafka.topics.generations, *settings.kafka.topics.labels)


def topics_written(settings: Settings) -> Topics:
    """Topics the agent writes."""
    topics = settings.kafka.topics
    return Topics(**{name: getattr(topics, name) for name in Topics()})


def topics_used(settings: Settings) -> list[str]:
    """Every topic the agent needs."""
    return [*topics_read(settings), *(name for name in topics_written(settings).values() if name)]


def store(settings: Settings, url: str | None = None, *, keep_audit: bool = False) -> SqlStore:
    """The store, opened for writing; with ``keep_audit`` it also keeps which records were applied, for tests."""
    return open_store(
        url or settings.store.url.get_secret_value(),
        topics=topics_written(settings),
        synchronous=settings.store.synchronous,
        keep_audit=keep_audit,
        max_dead_letters=settings.store.max_dead_letters,
        max_dead_letter_bytes=settings.store.max_dead_letter_bytes,
    )


def source(settings: Settings) -> Source:
    """Where the agent's records come from; topics are made first where that was asked for."""
    kafka = settings.kafka
    if kafka.create_topics:
        create_topics(connection(settings), topics_used(settings), kafka.partitions, kafka.replication)
    if kafka.readers:
        return Readers([reader_task(settings, number) for number in range(kafka.readers)])
    return _kafka_source(settings)()


def reader_task(settings: Settings, number: int) -> Task:
    """What the reader process of this number, from 0, is told."""
    told = cold_settings(settings)
    features = partial(with_features, entropy=told.entropy, segments=told.segments, min_coverage=told.min_coverage)
    return Task(
        _kafka_source(settings, share=(number, settings.kafka.readers)),
        decoder(settings),
        features,
        settings.logging.level,
        settings.logging.json_lines,
    )


def _kafka_source(settings: Settings, **more: Any) -> Callable[[], KafkaSource]:
    """What makes a source that reads generations and labels."""
    kafka = settings.kafka
    options = {
        "group_id": kafka.group_id,
        "max_records": kafka.max_records,
        "max_bytes": kafka.max_bytes,
        "max_unpacked_bytes": kafka.max_unpacked_bytes,
        "on_lost": kafka.on_lost,
        "stall_timeout_s": kafka.stall_timeout_s,
    }
    return partial(KafkaSource, connection(settings), topics_read(settings), **{**options, **more})


def kafka_history(settings: Settings, begin: Bound, end: Bound) -> KafkaHistory:
    """The source that reads what the topics of generations and labels held between two places."""
    kafka = settings.kafka

    def open_source(partitions: Collection[TopicPartition] | None) -> KafkaSource:
        return _kafka_source(settings, partitions=partitions, max_bytes=min(kafka.max_bytes, HISTORY_BYTES))()

    return KafkaHistory(open_source, begin, end, max_records=kafka.max_records)


class Progress:
    """An observer that knows how far event time has come: what retention counts from."""

    watermark = float("-inf")

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Note the watermark."""
        self.watermark = state.watermark

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """Note nothing."""

    def failure(self, error: ConnectorError | None) -> None:
        """Note nothing."""


@contextmanager
def open_agent(settings: Settings, *, keep_audit: bool = False) -> Iterator[Loop]:
    """The whole agent, ready to run; everything it opened is closed at the end."""
    registry, health, progress = CollectorRegistry(), Health(), Progress()
    metrics = Metrics(registry, max_domains=settings.bounds.max_domains)
    observers = (metrics, health, progress)
    with ExitStack() as stack:
        if settings.server.enabled:
            server = Server(settings.server.host, settings.server.port, routes(health, registry))
            stack.callback(server.close)
            log.info("health and metrics on http://%s:%d", settings.server.host, server.port)
        waiting = Backoff(settings.kafka.patience_s, threading.Event(), observers)
        opened = waiting.until(lambda: store(settings, keep_audit=keep_audit))
        stack.callback(opened.close)
        schedule = Schedule(_jobs(settings, opened, progress))
        stack.callback(schedule.close)
        gc.freeze()  # libraries are most of all objects, and stay: a collection that looks at them too takes 0.2 s
        stack.callback(gc.unfreeze)
        yield Loop(
            pipeline_settings(settings),
            Decoded() if settings.kafka.readers else decoder(settings),
            opened,
            lambda: source(settings),
            lambda: KafkaSink(connection(settings)),
            observers=observers,
            patience_s=settings.kafka.patience_s,
            pause_after_s=settings.kafka.pause_after_s,
        )


def _jobs(settings: Settings, opened: Store, progress: Progress) -> list[Job]:
    jobs = []
    if when := trigger(settings.report.cron, settings.report.interval_s):
        jobs.append(Job("report", lambda: write_report_now(settings), when))
    if settings.store.retention_s and (often := trigger(interval_s=RETENTION_EVERY_S)):
        oldest_s = settings.store.retention_s
        jobs.append(Job("retention", lambda: forget_old(opened, progress.watermark - oldest_s), often))
    return jobs


def forget_old(opened: Store, older_than: float) -> None:
    """Drop everything of before this event time, a short transaction at a time: the loop goes on in between."""
    while opened.expire(older_than, RETENTION_ROWS) == RETENTION_ROWS:
        pass
