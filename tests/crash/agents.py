"""A whole agent in memory that reads a log of records, dies at any effect and is started again."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Message, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.testing import Crash, CrashPlan, MemorySink, MemorySource, MemoryStore, Tables
from driftgauge.models.events import Chunk, Event, Generation, Label
from tests.pipeline.logs import SETTINGS, make_log

PARTITIONS = 2


def records(seed: int, n_responses: int, make: Callable[[int, int], list[Event]] = make_log) -> list[Record]:
    """A log as bytes, spread over partitions of two topics, with a tombstone now and then; keys are aliases."""
    log: list[Record] = []
    offsets: dict[tuple[str, int], int] = {}
    for i, event in enumerate(make(seed, n_responses)):
        place = ("labels" if isinstance(event, Label) else "generations", i % PARTITIONS)
        offset = offsets.get(place, 0)
        offsets[place] = offset + 1
        log.append(Record(*place, offset, _key(event), None if i % 37 == 36 else _bytes(event)))
    return log


def _key(event: Event) -> bytes | None:
    piece = event.piece if isinstance(event, Chunk) else event
    return piece.aliases[0].encode() if isinstance(piece, Generation) and piece.aliases else None


def _bytes(event: Event) -> bytes:
    if isinstance(event, Label):
        return encode_label(event)
    if isinstance(event, Generation | Chunk):
        return encode_generation(event, dtype="float32")
    return b"garbage"


@dataclass
class World:
    """Everything that survives a process: the tables of the store and the published messages."""

    log: list[Record]
    settings: PipelineSettings = SETTINGS
    tables: Tables = field(default_factory=Tables)
    published: list[Message] = field(default_factory=list)
    audit: list[tuple[str, int, int]] = field(default_factory=list)
    decoder: Decoder = field(default_factory=lambda: Decoder(encoding="msgpack"))

    def run(self, *, max_records: int = 16, crash: CrashPlan | None = None, loop: type[Loop] = Loop) -> None:
        """Run an agent to the end of the log, or until it dies."""
        store = MemoryStore(self.tables, keep_audit=True, crash=crash)
        sink = MemorySink(crash=crash)
        sink.messages = self.published
        agent = loop(
            self.settings,
            self.decoder,
            store,
            lambda: MemorySource(self.log, max_records=max_records, crash=crash),
            lambda: sink,
        )
        try:
            agent.run()
        finally:
            self.audit = store.audit()

    def die(self, crash: CrashPlan, *, loop: type[Loop] = Loop) -> None:
        """Run an agent until it dies where the plan says."""
        with pytest.raises(Crash):
            self.run(crash=crash, loop=loop)

    def restart(self, *, loop: type[Loop] = Loop, other_order: bool = False) -> None:
        """Run another agent to the end of the log; it may read the partitions in another order."""
        if other_order:
            self.log = sorted(self.log, key=lambda record: (record.offset // 3, record.topic, record.partition))
        self.run(loop=loop)

    def left(self) -> bytes:
        """All that the next agent finds, as bytes; they are equal only where it finds the same."""
        return pickle.dumps((self.tables, self.published))

    def replayed(self) -> World:
        """The world of an agent that does not die and applies the records in the same order as this one."""
        by_place = {(record.topic, record.partition, record.offset): record for record in self.log}
        world = World([by_place[place] for place in self.audit], self.settings)
        world.run()
        return world

    def remembered(self) -> dict[str, object]:
        """The final state, in a form that compares."""
        t = self.tables
        rows = {
            i: (r.seq, r.features.tobytes(), repr((r.p_correct, r.correct, r.weight))) for i, r in t.responses.items()
        }
        return {
            "rows": rows,
            "labels": t.labels,
            "aliases": t.aliases,
            "stale": t.stale,
            "state": t.state,
            "retired": t.retired,
            "positions": t.positions,
            "audit": self.audit,
        }

    def names_with_two_contents(self) -> set[tuple[str, bytes, bytes]]:
        """Topic, key and CloudEvents id of the messages whose value or headers differ from one publication to another.

        The epoch may differ: it orders the messages of two runs.
        """
        seen: dict[tuple[str, bytes, bytes], object] = {}
        found = set()
        for message in self.published:
            headers = {name: value for name, value in message.headers if name != "driftgauge-epoch"}
            name, content = (message.topic, message.key, headers["ce_id"]), (message.value, headers)
            if seen.setdefault(name, content) != content:
                found.add(name)
        return found

    def contents(self) -> dict[tuple[str, bytes, bytes], int]:
        """Published messages, without repetition: (topic, key, value) -> how often."""
        counted: dict[tuple[str, bytes, bytes], int] = {}
        for message in self.published:
            place = message.topic, message.key, message.value
            counted[place] = counted.get(place, 0) + 1
        return counted


def survivors(
    make: Callable[[], World], n_points: int, *, loop: type[Loop] = Loop, other_order: bool = False
) -> Iterator[tuple[int, World]]:
    """The agent dies at every point and is started again: the number of the point, and the world at the end.

    Many points leave the same behind, such as those of a transaction that is rolled back. What an agent does depends on
    nothing else, so it is started again, and yielded, for the first of them only.
    """
    known = set()
    for at in range(n_points):
        world = make()
        world.die(CrashPlan(at=at), loop=loop)
        if (left := world.left()) not in known:
            known.add(left)
            world.restart(loop=loop, other_order=other_order)
            yield at, world
