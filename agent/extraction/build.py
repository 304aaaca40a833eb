"""From settings to an extractor: the only module of this package that knows settings."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from functools import partial

from prometheus_client import CollectorRegistry

from driftgauge.agent import kafka_settings
from driftgauge.agent.extraction.extractor import Extractor
from driftgauge.agent.extraction.metrics import ExtractionMetrics
from driftgauge.agent.outlets import health
from driftgauge.agent.outlets.http import status_pages
from driftgauge.agent.service import build_decoding
from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.formats.extracted import without_content
from driftgauge.connectors.kafka.group import KafkaGroup
from driftgauge.connectors.kafka.sink import KafkaSink

log = logging.getLogger(__name__)

COMPRESSION = "lz4"
"""Codec of the topic of features: the names of fields repeat, so less than half of the bytes remain."""


def extractor(settings: Settings, stopping: threading.Event) -> Extractor:
    """An extractor of these settings."""
    warn_when_unread(settings)
    return Extractor(
        build_decoding.record_extractor(settings),
        settings.extract.to,
        partial(group, settings),
        partial(_sink, settings),
        stopping,
        patience_s=settings.kafka.patience_s,
    )


def warn_when_unread(settings: Settings) -> None:
    """Log a warning when an agent with the same settings does not read the topic of features."""
    if not settings.reads_features:
        read = ", ".join(settings.kafka.topics.generations)
        log.warning("no agent with these settings reads %s: kafka.topics.generations is %s", settings.extract.to, read)


def group(settings: Settings) -> KafkaGroup:
    """A member of the group of extractors; creates missing topics first, where the settings allow it."""
    extract, kafka = settings.extract, settings.kafka
    if kafka.create_topics:
        kafka_settings.topic_creation(kafka, [*extract.topics, extract.to])()
    return KafkaGroup(
        kafka_settings.connection(kafka),
        extract.topics,
        group_id=extract.group_id,
        member_id=extract.member_id,
        rebalance=extract.rebalance,
        session_timeout_s=extract.session_timeout_s,
        max_records=kafka.max_records,
        max_bytes=kafka.max_bytes,
        max_unpacked_bytes=kafka.max_unpacked_bytes,
        on_lost=kafka.on_lost,
        stall_timeout_s=kafka.stall_timeout_s,
    )


def _sink(settings: Settings) -> KafkaSink:
    return KafkaSink(kafka_settings.connection(settings.kafka), compression=COMPRESSION, shortened=without_content)


def page(settings: Settings, running: Extractor) -> AbstractContextManager[None]:
    """The pages with metrics, health and readiness, where the settings ask for them.

    Raises
    ------
    ConnectorError
        When they cannot listen on their port.
    """
    registry = CollectorRegistry()
    registry.register(ExtractionMetrics(running.work))
    routes = health.routes(running.health, registry)
    return status_pages(settings.server.host, settings.extract.status_port, routes)
