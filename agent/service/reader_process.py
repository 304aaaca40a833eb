"""A reader: a process that fetches records, decodes them and computes their features for the agent.

Owns the messages between agent and reader, over a pair of sockets that only the two have. A reader keeps no state: it
starts at the positions that the agent sends, and records count as read only when the agent has stored them. Bounded by
two polls: one that is being sent and one that is being decoded. A reader ends when the agent ends.
"""

from __future__ import annotations

import copyreg
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from driftgauge.agent.service.internal_errors import Failures, describe
from driftgauge.agent.service.logs import Level, start_logging
from driftgauge.connectors.base import ConnectorError, Positions, Record, Source, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.extracted import Head
from driftgauge.models.events import Arrival, Context, Event, Generation, Signal
from driftgauge.models.signals.arrivals import without_tokens

log = logging.getLogger(__name__)

POLL_TIMEOUT_S = 0.2


@dataclass(frozen=True, slots=True)
class DecodedRecord(Record):
    """A record with its events; ``value`` is empty, as the agent does not need it any more, or None for a tombstone.

    ``head`` names the raw record that ``driftgauge extract`` made it of.
    """

    events: tuple[Event, ...] = ()
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class ReaderTask:
    """Everything a reader needs to start: its source, its decoder, its features and its logging."""

    open_source: Callable[[], Source]
    decoder: Decoder
    take_features: Callable[[Sequence[Event]], list[Event]]
    log_level: Level = "info"
    log_json_lines: bool = False


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """The records of one poll, and how many records of each partition were not yet polled."""

    records: Sequence[DecodedRecord]
    lag: dict[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class ReaderFailure:
    """The `ConnectorError` with which a reader ended."""

    text: str
    retriable: bool


def _as_call(value: Any) -> tuple[type, tuple[Any, ...]]:
    """Pickle a value as a call of its class, which is twice as fast as pickling it field by field."""
    return type(value), tuple([getattr(value, name) for name in type(value).__match_args__])


for _kind in (DecodedRecord, Arrival, Generation, Signal, Context):
    copyreg.pickle(_kind, _as_call)


def main() -> None:
    """Serve the agent at the other end of the socket whose file descriptor is the first argument."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent finishes its batch first, and then ends this process
    agent_ended = (EOFError, BrokenPipeError, ConnectionResetError)
    with suppress(*agent_ended), Connection(int(sys.argv[1])) as agent:
        try:
            serve(agent)
        except ConnectorError as error:
            agent.send(ReaderFailure(str(error), error.retriable))


def serve(agent: Connection) -> None:
    """Read until the agent ends.

    The agent sends a `ReaderTask`, the positions to start at, and now and then the positions that it has stored. The
    reader sends an empty `DecodedBatch` once its source is open, and then one for each poll.
    """
    task: ReaderTask = agent.recv()
    start_logging(task.log_level, json_lines=task.log_json_lines)
    with closing(task.open_source()) as source, ThreadPoolExecutor(1) as sender:
        source.open(agent.recv())
        failures = Failures()
        sending = sender.submit(agent.send, DecodedBatch((), dict(source.lag())))
        while True:
            batch = DecodedBatch(decode(task, source.poll(POLL_TIMEOUT_S), failures), dict(source.lag()))
            sending.result()  # waits until the agent has taken the previous batch
            sending = sender.submit(agent.send, batch)
            stored: Positions = {}
            while agent.poll():
                stored = agent.recv()
            if stored:
                source.commit(stored)


def decode(task: ReaderTask, records: Sequence[Record], failures: Failures | None = None) -> list[DecodedRecord]:
    """Decode records; each keeps its events, with features, and loses its value.

    When that fails unexpectedly, the records are decoded one by one, and one that fails again becomes a dead letter.
    Raises `ConnectorError` when too many fail in a row.
    """
    failures = failures or Failures()
    try:
        decoded = _decode_together(task, records)
    except Exception:
        log.info("a batch of %d records failed; its records are decoded one by one", len(records))
        return [_decode_alone(task, record, failures) for record in records]
    if records:
        failures.reset()
    return decoded


def _decode_alone(task: ReaderTask, record: Record, failures: Failures) -> DecodedRecord:
    try:
        (decoded,) = _decode_together(task, [record])
    except Exception as error:
        try:
            letter = failures.note(record, error)
        except Exception:
            raise ConnectorError(f"a reader failed on every record: {describe(error)}", retriable=False) from error
        return _decoded(task, record, (letter,))
    failures.reset()
    return decoded


def _decode_together(task: ReaderTask, records: Sequence[Record]) -> list[DecodedRecord]:
    decoded, counts = task.decoder.decode_counted(records)
    events = map(_without_tokens, task.take_features(decoded))
    return [
        _decoded(task, record, tuple(islice(events, n_events)))
        for record, n_events in zip(records, counts, strict=True)
    ]


def _decoded(task: ReaderTask, record: Record, events: tuple[Event, ...]) -> DecodedRecord:
    return DecodedRecord(
        record.topic, record.partition, record.offset, record.key, value=None if record.value is None else b"",
        timestamp=record.timestamp, problem=record.problem, events=events, head=task.decoder.head_of(record),
    )  # fmt: skip


def _without_tokens(event: Event) -> Event:
    return without_tokens(event) if isinstance(event, Arrival) else event
