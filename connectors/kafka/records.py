"""What sources make of the client's answers: records, and where to go on when a position is out of range."""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias

from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.kafka.client import KafkaStats
from driftgauge.connectors.kafka.unpacking import BatchTooLargeError

log = logging.getLogger(__name__)

OnLost: TypeAlias = Literal["fail", "earliest"]


def record_of(message: Any) -> Record:
    """The record in a message of the client."""
    headers = tuple((name, value or b"") for name, value in message.headers)
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        headers,
        message.timestamp / 1000,
    )


def size_of(record: Record) -> int:
    """Bytes of key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def unread(batch: BatchTooLargeError, max_bytes: int) -> Record:
    """The record that reports a batch that is too large to unpack; the next one to read is at ``batch.after``."""
    offsets = f"offsets {batch.first} to {batch.after - 1}"
    problem = f"a compressed batch, {offsets}, that unpacks to more than {max_bytes} bytes"
    return Record(*batch.partition, batch.after - 1, None, None, problem=problem)


def next_in_range(
    partition: TopicPartition, offset: int, earliest: int, end: int, on_lost: OnLost, stats: KafkaStats
) -> int:
    """Where to go on from an offset that is out of range; records that were deleted unread are counted.

    Raises
    ------
    ConnectorError
        When the topic ends before the offset, or when records are lost and ``on_lost`` does not allow it.
    """
    place = f"{partition.topic}/{partition.partition}"
    if offset > end:
        text = (
            f"{place} ends at offset {end}, before the stored position {offset}: the topic was recreated or truncated"
        )
        raise ConnectorError(text, retriable=False)
    if offset < earliest:
        text = f"{earliest - offset} records of {place} were deleted from the topic before they were read"
        if on_lost == "fail":
            raise ConnectorError(f"{text} (on_lost: earliest counts them and continues)", retriable=False)
        stats.lost_records += earliest - offset
        log.error("%s; continuing with the earliest record that exists", text)
    return max(offset, earliest)
