"""From settings to the objects of the agent: store, source, readers, reports and the loop.

The settings of the pipeline come from `build_pipeline`, what decodes records from `build_decoding`. Every setting is
passed by the name of the parameter that takes it, so that no two can be exchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from driftgauge.agent import kafka_settings
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.report_files import ReportWriter
from driftgauge.agent.service.build_decoding import decoder, record_extractor
from driftgauge.agent.service.build_pipeline import pipeline_settings
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reader_pool import PoolDecoder, ReaderPool
from driftgauge.agent.service.reader_process import ReaderTask
from driftgauge.agent.service.topic_check import check_topics
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Source, Store, TopicPartition
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.history import Bound, KafkaHistory
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.kafka.topics import topic_ids
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store

HISTORY_BYTES = 4 << 20
"""Most bytes per fetch when topics are replayed: a replay has one client per partition, and each holds a fetch."""


def connection(settings: Settings) -> KafkaConnection:
    """The address of the Kafka cluster and the credentials for it."""
    return kafka_settings.connection(settings.kafka)


def topics_read(settings: Settings) -> tuple[str, ...]:
    """Topics the agent reads."""
    return (*settings.kafka.topics.generations, *settings.kafka.topics.labels)


def topics_extracted(settings: Settings) -> tuple[str, ...]:
    """Topics whose records reach the agent through extractors."""
    return settings.extract.topics if settings.reads_features else ()


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
    ids = topic_ids(connection(settings), [*topics_read(settings), *topics_extracted(settings)])
    check_topics(store, ids, kafka.on_lost)
    if kafka.readers:
        return ReaderPool([reader_task(settings, number) for number in range(kafka.readers)])
    return _open_kafka_source(settings)()


def topic_creation(settings: Settings) -> Callable[[], None]:
    """The call that creates the topics that do not exist yet."""
    return kafka_settings.topic_creation(settings.kafka, topics_used(settings))


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
