"""From settings to the objects of the agent; the other processes have a module of this name too.

Every setting is passed by the name of the parameter that takes it, so that no two can be exchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from driftgauge.agent import kafka_settings
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.report_files import ReportWriter
from driftgauge.agent.service.fit_files import load_fit
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reader_pool import PoolDecoder, ReaderPool
from driftgauge.agent.service.reader_process import ReaderTask
from driftgauge.agent.service.topic_check import check_topics
from driftgauge.config.lookups import LookupSettings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Source, Store, TopicPartition, WrongSettingError
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.formats.table import format_named
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.lookup import Lookup, path_of
from driftgauge.connectors.decoding.naming import NameRules
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.history import Bound, KafkaHistory
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.kafka.topics import topic_ids
from driftgauge.connectors.labels.mapping import FIELDS, LabelMapping, paths_of
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.sentence_encoder import encoder
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.alerts.book import AlertRules
from driftgauge.models.labels import USE_BY_SOURCE, LabelUse, Use
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.selection import Selection
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.signals.feature_sets import FeatureSpec
from driftgauge.models.slices.grouping import SlicePlan
from driftgauge.models.topics.clustering import TopicSettings
from driftgauge.models.windows import WindowSpec

_UNKNOWN: dict[str, Use] = {"weight_one": "count", "ignore_in_estimates": "teach"}

HISTORY_BYTES = 4 << 20
"""Most bytes per fetch when topics are replayed: a replay has one client per partition, and each holds a fetch."""


def pipeline_settings(settings: Settings) -> PipelineSettings:
    """Settings of the pipeline; reads the fitted file that new contexts start from, where one is configured."""
    unfitted = unfitted_pipeline_settings(settings)
    if not settings.context.start_from:
        return unfitted
    return replace(unfitted, fitted=load_fit(Path(settings.context.start_from), unfitted))


def unfitted_pipeline_settings(settings: Settings) -> PipelineSettings:
    """Settings of a pipeline whose contexts start without a fitted file."""
    windows, bounds, labels = settings.windows, settings.bounds, settings.labels
    return PipelineSettings(
        selection=Selection(settings.select.only, settings.select.leave_out),
        windows=WindowSpec(window_s=windows.window_s, window_events=windows.window_events, hop_s=windows.hop_s),
        committee=committee_settings(settings),
        assembly=AssemblySettings(
            max_in_flight=bounds.max_in_flight,
            max_waiting=bounds.max_waiting_chunks,
            expiry_s=bounds.in_flight_expiry_s,
        ),
        features=feature_spec(settings),
        min_coverage=settings.features.min_coverage,
        allowed_lateness_s=windows.allowed_lateness_s,
        max_ahead_s=windows.max_ahead_s,
        max_jump_s=windows.max_jump_s,
        idle_after_s=windows.idle_after_s,
        emit_every_events=windows.emit_every_events,
        emit_every_labels=windows.emit_every_labels,
        material_change=windows.material_change,
        label_policy=labels.policy,
        label_scale=LabelScale(labels.scale).description,
        label_use=LabelUse({**USE_BY_SOURCE, **labels.sources}, _UNKNOWN[labels.unknown_probability]),
        smallest_inclusion_probability=labels.smallest_inclusion_probability or None,
        label_horizon_s=labels.horizon_s,
        max_pending_labels=labels.max_pending,
        alerts=AlertRules(
            sustained_s=settings.alerts.sustained_s,
            min_sample=settings.alerts.min_sample,
            resolve_after_s=settings.alerts.resolve_after_s,
            repeat_s=settings.alerts.repeat_s,
            no_data_s=settings.alerts.no_data_s,
            max_open=settings.bounds.max_open_alerts,
        ),
        alert_link=settings.alerts.link,
        label_plan=label_plan(settings),
        slices=slice_plan(settings),
        confidence_level=settings.estimates.confidence_level,
        min_events=settings.estimates.min_events,
        detect_drift=settings.drift.enabled,
        drift_false_warnings=settings.drift.false_warnings,
        drift_horizon_s=settings.drift.horizon_s,
        drift_season=settings.drift.season,
        drift_detector=settings.drift.detector,
        drift_features=settings.drift.features,
        targets=settings.targets.domains,
        default_target=settings.targets.default,
        false_alarms=settings.targets.false_alarms,
        max_domains=bounds.max_domains,
        max_fingerprints=settings.context.max_fingerprints,
        windows_at_once=bounds.windows_at_once,
        warm_start=settings.context.warm_start,
        topics=TopicSettings(
            enabled=settings.topics.enabled,
            max_topics=settings.topics.max_topics,
            similarity=settings.topics.similarity,
            min_responses=settings.topics.min_responses,
            silent_s=settings.topics.silent_s,
        ),
        predictions=settings.predictions.publish,
        seed=settings.classifier.seed,
    )


def label_plan(settings: Settings) -> LabelPlan:
    """When and how label lists are drawn."""
    acquisition = settings.acquisition
    return LabelPlan(
        period_s=max(acquisition.period_s, settings.windows.hop_s),  # lists are made at boundaries
        budget=Budget(
            n=acquisition.labels_per_period,
            per_domain=acquisition.labels_per_domain,
            base=acquisition.base_labels,
            target_width=acquisition.target_width,
            across=acquisition.across,
        ),
        n_in_all=acquisition.labels_in_all,
        within=acquisition.within,
        expires_after=acquisition.expires_after,
        link=acquisition.link,
        seed=settings.classifier.seed,
    )


def slice_plan(settings: Settings) -> SlicePlan:
    """Which slices are estimated and searched."""
    slices = settings.slices
    return SlicePlan(
        combinations=slices.combinations,
        max_values=slices.max_values,
        max_estimates=slices.max_estimates,
        finds_weak=slices.weak_segments,
        weak_span_s=slices.weak_span_s,
        weak_min_labels=slices.weak_min_labels,
        weak_false_alarms=slices.weak_false_alarms,
    )


def committee_settings(settings: Settings) -> CommitteeSettings:
    """Settings of the learner of a context."""
    classifier = settings.classifier
    return CommitteeSettings(
        champion=classifier.kind,
        challengers=classifier.challengers,
        min_labels=classifier.min_labels,
        memory_labels=classifier.memory_labels or None,
        correct_domains=classifier.correct_domains,
        refit_every_labels=classifier.refit_every_labels,
        max_training_rows=classifier.max_training_rows,
        promote_after_labels=classifier.promote_after_labels,
        promote_error=classifier.promote_error,
        round_labels=classifier.round_labels,
        smallest_inclusion_probability=settings.labels.smallest_inclusion_probability or None,
        gate_auroc=classifier.gate_auroc,
        gate_min_labels=classifier.gate_min_labels,
        max_versions=classifier.max_versions,
        max_domains=settings.bounds.max_domains,
        seed=classifier.seed,
    )


def decoder(settings: Settings, *, features_anywhere: bool = False) -> Decoder:
    """The decoder of records; with ``features_anywhere`` of files, which may hold what extractors made.

    Raises
    ------
    WrongSettingError
        When there is no format of a name in the settings.
    """
    decode = settings.decode
    format_names(settings)
    return Decoder(
        format=decode.format,
        encoding=decode.encoding,
        topic_formats=decode.topic_formats,
        default_domain=decode.default_domain,
        keep_text=decode.keep_text,
        embeddings=embedding_rules(settings) if settings.topics.enabled else None,
        payload_path=decode.payload,
        ignored_content_types=decode.ignored_content_types,
        names=NameRules(
            domain=lookup(decode.domain),
            model_revision=lookup(decode.model_revision),
            slices={name: lookup(found) for name, found in decode.slices.items()},
            response_id=tuple(map(path_of, decode.response_id)),
            aliases=tuple(map(path_of, decode.aliases)),
            single_choice=decode.single_choice,
        ),
        label_scale=LabelScale(settings.labels.scale),
        limits=Limits(**decode.limits.model_dump()),
        features_topic=settings.extract.to if settings.extract.to in settings.kafka.topics.generations else "",
        features_anywhere=features_anywhere,
        features=feature_spec(settings),
    )


def format_names(settings: Settings) -> list[str]:
    """The names of formats in the settings; raises `WrongSettingError` where one is the name of none."""
    decode = settings.decode
    named = {
        "decode.format": decode.format,
        **{f"decode.topic_formats.{t}": n for t, n in decode.topic_formats.items()},
    }
    problems = []
    for setting, name in named.items():
        try:
            if name != "auto":
                format_named(name)
        except PayloadError as error:
            problems.append(f"{setting}: {error}")
    if problems:
        raise WrongSettingError("; ".join(problems))
    return [*dict.fromkeys(named.values())]


def embedding_rules(settings: Settings) -> EmbeddingRules:
    """Where embeddings of prompts come from."""
    topics = settings.topics
    return EmbeddingRules(
        paths=tuple(map(path_of, topics.embedding)),
        prompts=tuple(map(path_of, topics.prompt)),
        encoder=encoder(topics.encoder),
    )


def label_mapping(settings: Settings) -> LabelMapping:
    """The mapping of labels of another tool: that of the preset, with what the settings name in its place.

    Raises
    ------
    WrongSettingError
        When there is no such preset or field, or no path for the response id, the truth or the time.
    """
    given = settings.labels.mapping
    known = PRESETS.get(given.preset, LabelMapping())
    found = {name: label_lookup(paths) for name, paths in given.fields.items()}
    fields, problems = {**known.fields, **found}, list[str]()
    if wrong := [name for name in found if name not in FIELDS]:
        text = f"labels.mapping.fields has {', '.join(wrong)}, which no label has; known: {', '.join(FIELDS)}"
        problems.append(text)
    if given.preset and given.preset not in PRESETS:
        problems.append(f"labels.mapping.preset must be one of {', '.join(PRESETS)}")
    elif missing := [name for name in ("response_id", "correct", "event_time") if name not in fields]:
        problems.append(f"labels.mapping.fields has no path for {', '.join(missing)}")
    if problems:
        raise WrongSettingError("; ".join(problems))
    return LabelMapping(
        prefix=given.prefix or known.prefix,
        records=given.records or known.records,
        each=given.each or known.each,
        fields=fields,
        scale=known.scale if given.scale is None else LabelScale(given.scale),
        names=given.names or known.names,
        skip={**known.skip, **given.skip},
        withdraw={**known.withdraw, **given.withdraw},
        defaults={**known.defaults, **given.defaults},
    )


def label_lookup(found: LookupSettings) -> Lookup:
    """The rule by which a field of a label is found in a record of another tool."""
    return Lookup(paths_of(*found.paths), found.values, found.patterns)


def lookup(found: LookupSettings) -> Lookup:
    """The rule by which a name is found in a record."""
    return Lookup(tuple(map(path_of, found.paths)), found.values, found.patterns)


def connection(settings: Settings) -> KafkaConnection:
    """The address of the Kafka cluster and the credentials for it."""
    return kafka_settings.connection(settings.kafka)


def topics_read(settings: Settings) -> tuple[str, ...]:
    """Topics the agent reads."""
    return (*settings.kafka.topics.generations, *settings.kafka.topics.labels)


def topics_extracted(settings: Settings) -> tuple[str, ...]:
    """Topics whose records reach the agent through extractors."""
    return settings.extract.topics if settings.extract.to in settings.kafka.topics.generations else ()


def topics_written(settings: Settings) -> Topics:
    """Topics the agent writes, by kind of output; an output with an empty topic is not published."""
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


def source(settings: Settings, store: Store) -> Source:
    """The agent's source of records; creates missing topics first, where the settings allow it."""
    kafka = settings.kafka
    if kafka.create_topics:
        topic_creation(settings)()
    extracted = settings.extract.topics if settings.extract.to in kafka.topics.generations else ()
    ids = topic_ids(connection(settings), [*topics_read(settings), *extracted])
    check_topics(store, ids, kafka.on_lost)
    if kafka.readers:
        return ReaderPool([reader_task(settings, number) for number in range(kafka.readers)])
    return _open_kafka_source(settings)()


def topic_creation(settings: Settings) -> Callable[[], None]:
    """The call that creates the topics that do not exist yet."""
    return kafka_settings.topic_creation(settings.kafka, topics_used(settings))


def feature_spec(settings: Settings) -> FeatureSpec:
    """Which features are computed."""
    features = settings.features
    return FeatureSpec(features.set, features.entropy, features.segments)


def record_extractor(settings: Settings) -> RecordExtractor:
    """What readers and extractors make of records."""
    return RecordExtractor(decoder(settings), feature_spec(settings), min_coverage=settings.features.min_coverage)


def reader_task(settings: Settings, number: int) -> ReaderTask:
    """The task of the reader process with this number, counted from 0."""
    return ReaderTask(
        open_source=_open_kafka_source(settings, share=(number, settings.kafka.readers)),
        extractor=record_extractor(settings),
        log_level=settings.logging.level,
        log_json_lines=settings.logging.json_lines,
    )


def _open_kafka_source(settings: Settings, **more: Any) -> Callable[[], KafkaSource]:
    """A function that makes a source of generations and labels; it can be sent to another process."""
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
    """A source of the records that the topics of generations and labels held between two bounds."""
    kafka = settings.kafka

    def open_source(partitions: Collection[TopicPartition] | None) -> KafkaSource:
        max_bytes = min(kafka.max_bytes, HISTORY_BYTES)
        return _open_kafka_source(settings, partitions=partitions, max_bytes=max_bytes)()

    return KafkaHistory(open_source, begin, end, max_records=kafka.max_records)


def report_writer(settings: Settings, store_url: str | None = None, folder: str | None = None) -> ReportWriter:
    """What writes reports.

    Parameters
    ----------
    store_url, folder : replace those of the settings
    """
    return ReportWriter(
        store_url=store_url or settings.store.url.get_secret_value(),
        folder=folder or settings.report.folder,
        period_s=settings.report.period_s,
        targets=settings.targets.domains,
        default_target=settings.targets.default,
        confidence_level=settings.estimates.confidence_level,
        timezone=settings.report.timezone,
        formats=settings.report.formats,
    )


def loop(
    settings: Settings,
    store: Store,
    observers: Sequence[Observer],
    stopping: threading.Event,
    requests: SimpleQueue[Callable[[Store], None]] | None = None,
) -> Loop:
    """The loop that reads from Kafka and publishes to it, with this store."""
    return Loop(
        pipeline_settings(settings),
        PoolDecoder() if settings.kafka.readers else decoder(settings),
        store,
        lambda: source(settings, store),
        lambda: KafkaSink(connection(settings)),
        observers=observers,
        stopping=stopping,
        patience_s=settings.kafka.patience_s,
        pause_after_s=settings.kafka.pause_after_s,
        requests=requests,
    )
