"""A reader: a process that fetches records, decodes them and takes features, and hands them to the agent.

Owns what is said between the two, over a pair of sockets that only they have. The reader keeps no state that counts: it
starts at the positions it is told, and what it has read is in nobody's store before the agent puts it there. It is
bounded by two polls, one on its way and one in its hands, and ends when the agent does.
"""

from __future__ import annotations

import copyreg
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from driftgauge.agent.service.logs import Level, start_logging
from driftgauge.connectors.base import ConnectorError, Positions, Record, Source, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Arrival, Context, Event, Generation, Signal
from driftgauge.models.signals.features import N_FEATURES

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class ReadRecord(Record):
    """A record that was read already: ``events`` are what it holds, ``value`` is not handed on."""

    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """All that a reader has to know."""

    open_source: Callable[[], Source]
    decoder: Decoder
    take_features: Callable[[Sequence[Event]], list[Event]]
    log_level: Level = "info"
    log_json_lines: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one poll gave, and how many records of each partition are still to come."""

    records: Sequence[ReadRecord]
    lag: dict[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the reader ends: what a `ConnectorError` says."""

    text: str
    retriable: bool


def _as_call(value: Any) -> tuple[type, tuple[Any, ...]]:
    """How a value travels: as the arguments of its class, twice as fast as field by field."""
    return type(value), tuple([getattr(value, name) for name in type(value).__match_args__])


for _kind in (ReadRecord, Arrival, Generation, Signal, Context):
    copyreg.pickle(_kind, _as_call)


def main() -> None:
    """Serve the agent at the other end of the socket named by number on the command line."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent finishes its batch first, and then ends this
    gone = (EOFError, BrokenPipeError, ConnectionResetError)
    with suppress(*gone), Connection(int(sys.argv[1])) as agent:
        try:
            serve(agent)
        except ConnectorError as error:
            agent.send(Trouble(str(error), error.retriable))


def serve(agent: Connection) -> None:
    """Read until the agent is gone. It sends a `Task`, its positions, and now and then those it has reached."""
    task: Task = agent.recv()
    start_logging(task.log_level, json_lines=task.log_json_lines)
    with closing(task.open_source()) as source, ThreadPoolExecutor(1) as sender:
        source.open(agent.recv())
        sent = sender.submit(agent.send, Reading((), dict(source.lag())))
        while True:
            reading = Reading(read(task, source.poll(POLL_S)), dict(source.lag()))
            sent.result()  # the agent may take its time with the last one: meanwhile this one was read
            sent = sender.submit(agent.send, reading)
            reached: Positions = {}
            while agent.poll():
                reached = agent.recv()
            if reached:
                source.commit(reached)


def read(task: Task, records: Sequence[Record]) -> list[ReadRecord]:
    """The same records with their events."""
    found, counts = task.decoder.decode_counted(records)
    events = map(_light, task.take_features(found))
    return [
        ReadRecord(
            record.topic, record.partition, record.offset, record.key, value=None,
            timestamp=record.timestamp, problem=record.problem, events=tuple(islice(events, n_events)),
        )
        for record, n_events in zip(records, counts, strict=True)
    ]  # fmt: skip


def _light(event: Event) -> Event:
    """Without what nobody needs once there are features: a hundredth of the bytes."""
    if not isinstance(event, Arrival):
        return event
    whole, features = event.generation, event.features
    # the very same array where it can be: it travels once
    contract = features if len(features) == N_FEATURES else features[:N_FEATURES]
    light = whole.with_signal(Signal(features=contract, problems=whole.signal.problems))
    return Arrival(light, features, event.form, event.n_tokens, event.problem)
