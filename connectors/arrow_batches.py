"""Raw records in Arrow batches to messages of the topic of features in Arrow batches: what an executor runs.

Owns the columns of both, which are those of Spark's Kafka source and sink. It needs pyarrow beside what
`driftgauge.connectors.extract` needs. In memory is one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from driftgauge.connectors.base import Message, Record
from driftgauge.connectors.decoding.formats.extracted import without_content
from driftgauge.connectors.extract import DecodedRecord, RecordExtractor
from driftgauge.models.events import Arrival, Chunk, Label

HEADERS = "array<struct<key:string,value:binary>>"
MESSAGE_COLUMNS = f"topic string, partition int, key binary, value binary, headers {HEADERS}"
"""Columns of `to_messages`, in the notation of Spark."""

LINE_COLUMNS = "event_time double, number long, value string"
"""Columns of `to_lines`."""

_LINES = pa.schema({"event_time": pa.float64(), "number": pa.int64(), "value": pa.string()})
_MESSAGES = pa.schema({
    "topic": pa.string(), "partition": pa.int32(), "key": pa.binary(), "value": pa.binary(),
    "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
})  # fmt: skip
_OVERHEAD_BYTES = 512
"""What a batch of one message has beside its key, value and headers, and what compression may add."""


def to_messages(
    batches: Iterable[pa.RecordBatch], extractor: RecordExtractor, topic: str, n_partitions: int, max_bytes: int
) -> Iterator[pa.RecordBatch]:
    """The messages of these records, batch by batch, in their order.

    A message that is too large is replaced by a dead letter that names its raw record, so that it holds up nothing.

    Parameters
    ----------
    batches : ``topic``, ``partition``, ``offset``, ``timestamp`` (in microseconds), ``key``, ``value``, ``headers``
    topic, n_partitions : the topic of features, and how many partitions it has
    max_bytes : largest batch of messages that the topic takes, its ``max.message.bytes``
    """
    bound = max_bytes - _OVERHEAD_BYTES
    for batch in batches:
        extracted = extractor.extract(records_of(batch), topic, n_partitions)
        yield _batch([_fitting(message, bound) for _, message in extracted])


def to_lines(batches: Iterable[pa.RecordBatch], extractor: RecordExtractor) -> Iterator[pa.RecordBatch]:
    """The same as lines of JSON for a file, each with the time of its first event and the offset of its record.

    The time of a record without an event is that of the broker.
    """
    for batch in batches:
        records = records_of(batch)
        extracted = extractor.extract(records, "", 1, "json")
        columns = {
            "event_time": [_event_time(decoded) for decoded, _ in extracted],
            "number": [record.offset for record in records],
            "value": [message.value.decode() for _, message in extracted],
        }
        yield pa.RecordBatch.from_pydict(columns, schema=_LINES)


def _event_time(decoded: DecodedRecord) -> float:
    for event in decoded.events:
        if isinstance(event, Arrival):
            return event.generation.event_time
        if isinstance(event, Chunk) and not event.is_trailer:
            return event.piece.event_time
        if isinstance(event, Label):
            return event.event_time
    return decoded.timestamp


def records_of(batch: pa.RecordBatch) -> list[Record]:
    """The records of a batch.

    >>> columns = {name: [name] for name in ("topic", "key", "value")} | {"partition": [3], "offset": [7]}
    >>> columns |= {"timestamp": [1_700_000_000_500_000], "headers": [[{"key": "content-type", "value": b"x"}]]}
    >>> records_of(pa.RecordBatch.from_pydict(columns))  # doctest: +ELLIPSIS
    [Record(topic='topic', partition=3, offset=7, ... headers=(('content-type', b'x'),), timestamp=1700000000.5, ...)]
    """
    columns = [batch.column(name) for name in ("topic", "partition", "offset", "key", "value", "headers")]
    times_us = batch.column("timestamp").cast(pa.int64()).to_pylist()
    return [
        Record(topic, partition, offset, key, value, _headers(headers), time_us / 1e6)
        for topic, partition, offset, key, value, headers, time_us in zip(
            *(column.to_pylist() for column in columns), times_us, strict=True
        )
    ]


def _headers(found: list[dict[str, Any]] | None) -> tuple[tuple[str, bytes], ...]:
    return tuple((one["key"], one["value"] or b"") for one in found or ())


def _fitting(message: Message, bound: int) -> Message:
    return message if message.n_bytes <= bound else replace(message, value=without_content(message.value, bound))


def _batch(messages: list[Message]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({
        "topic": [message.topic for message in messages],
        "partition": [message.partition for message in messages],
        "key": [message.key for message in messages],
        "value": [message.value for message in messages],
        "headers": [[{"key": name, "value": value} for name, value in message.headers] for message in messages],
    }, schema=_MESSAGES)  # fmt: skip
