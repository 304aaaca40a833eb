"""A reader: a process that fetches records, decodes them and computes their features for the agent.

Owns the messages between agent and reader, over a pair of sockets that only the two have. A reader keeps no state: it
starts at the positions that the agent sends, and records count as read only when the agent has stored them. Bounded by
two polls: one that is being sent and one that is being decoded. A reader ends when the agent ends.
"""

from __future__ import annotations

import copyreg
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from driftgauge.agent.service.logs import Level, start_logging
from driftgauge.connectors.base import ConnectorError, Positions, Source, TopicPartition
from driftgauge.connectors.extract import DecodedRecord, RecordExtractor
from driftgauge.models.events import Arrival, Context, Generation, Signal

POLL_TIMEOUT_S = 0.2


@dataclass(frozen=True, slots=True)
class ReaderTask:
    """Everything a reader needs to start: its source, what it makes of records, and its logging."""

    open_source: Callable[[], Source]
    extractor: RecordExtractor
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
        sending = sender.submit(agent.send, DecodedBatch((), dict(source.lag())))
        while True:
            batch = DecodedBatch(task.extractor.decode(source.poll(POLL_TIMEOUT_S)), dict(source.lag()))
            sending.result()  # waits until the agent has taken the previous batch
            sending = sender.submit(agent.send, batch)
            stored: Positions = {}
            while agent.poll():
                stored = agent.recv()
            if stored:
                source.commit(stored)
