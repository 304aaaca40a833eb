"""One run of the log through one way of reading it, and what is compared of it.

Each run is compared with two others. *In the same order*: an agent alone that reads the raw records in the order in
which this run applied them. Everything must be equal to the bit. *As sets*: the first run. With several partitions the
broker decides in which order an agent reads them, and a classifier that learned labels in another order predicts
something else; event time passes otherwise, so that other labels and streams still wait at the end. But which responses
there are, their features, their truth, their labels, and the other dead letters do not depend on the order.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from driftgauge.agent.service import build
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.extracted import head_of
from driftgauge.connectors.testing import MemorySink
from driftgauge.models.account import GIVEN_UP, Account
from tests.deadline import until
from tests.kafka.agent_process import contents
from tests.same.world import WAIT_S, World
from tests.soak.oracle import play
from tests.soak.soak import records_in

Rows: TypeAlias = Counter[tuple[Any, ...]]
Place: TypeAlias = tuple[str, int, int]

OF_THE_CORE = ("id_conflict", "event_time_ahead")
"""Reasons of dead letters for which the core decides: of the response only the features are left by then."""

SETS = {
    "responses": """
        SELECT d.name, f.name, r.id, r.event_time, r.correct, r.weight, r.label_kind, r.n_tokens, r.finish_reason,
               r.slices, r.features
        FROM responses r JOIN names d ON d.seq = r.domain JOIN names f ON f.seq = r.fingerprint""",
    "labels": """
        SELECT response_id, label_id, event_time, correct, annotator_kind, inclusion_probability, supersedes,
               replace(topic, :raw, 'raw') FROM labels WHERE response_id IN (SELECT id FROM responses)""",
    "dead letters": f"""
        SELECT reason, CASE WHEN reason != 'event_time_ahead' THEN detail END, replace(topic, :raw, 'raw'), partition,
               "offset", key, CASE WHEN reason NOT IN {OF_THE_CORE} THEN value END, headers FROM dead_letters
        WHERE reason NOT IN {tuple(sorted(GIVEN_UP))}""",  # noqa: S608
}
"""What does not depend on the order in which partitions are read, by name.
Each run has a raw topic of its own, filled at its own time: its name, and how far ahead of that time an event is, are
left out.
"""


@dataclass(frozen=True)
class Run:
    """What one way of reading made of the log.

    Attributes
    ----------
    order : partition and offset of the raw records as the agent applied them
    account : what became of the raw records
    n_repeated : records that were published again and passed over
    sets : the rows of `SETS`
    estimates : by key of the window
    different : tables that differ from those of an agent alone in the same order, and in how many rows
    """

    name: str
    order: list[tuple[int, int]]
    account: Account
    n_repeated: int
    sets: dict[str, Rows]
    estimates: dict[str, float | None]
    different: dict[str, int]

    def is_ordered_as(self, other: Run) -> bool:
        """Whether both agents applied the records in the same order."""
        return self.order == other.order

    def differences(self, other: Run) -> dict[str, int]:
        """Rows that only one of two runs has, by name of the set; empty where there are none."""
        return different(self.sets, other.sets)

    def largest_difference(self, other: Run) -> float:
        """The largest difference of an estimate that both runs have."""
        pairs = ((value, other.estimates.get(key)) for key, value in self.estimates.items())
        return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)


def run(world: World, name: str, fill: Callable[[World], str]) -> Run:
    """Let ``fill`` bring the log into a topic that an agent can read, and let a real agent read it.

    The agent's store keeps which records it applied. An agent alone then applies the raw records in that order.
    """
    topic = fill(world)
    n_read = world.ends(topic)
    agent = world.agent(name, topic)
    until(lambda: n_applied(agent.positions(), topic) >= n_read or not agent.is_running, WAIT_S, every_s=0.5)
    assert agent.is_running, agent.log.read_text()
    assert agent.stop() == 0, agent.log.read_text()
    order = applied(world, agent.store, topic)
    raw = {(r.topic, r.partition, r.offset): r for r in _all(world, world.raw)}
    assert len(order) == len(set(order)), f"{name} applied a record twice"
    assert set(order) == raw.keys(), f"{name} applied {len(order)} of {len(raw)} records"
    replayed, account = _alone(world, f"{name}-replayed", [raw[place] for place in order])
    sets, estimates = read(agent.store, world.raw)
    return Run(
        name=name,
        order=[(partition, offset) for _, partition, offset in order],
        account=account,
        n_repeated=n_read - len(order),
        sets=sets,
        estimates=estimates,
        different=different(in_order(agent.store), in_order(replayed)),
    )


def n_applied(positions: dict[tuple[str, int], int], topic: str) -> int:
    """How many records of a topic lie before these positions."""
    return sum(offset for (name, _), offset in positions.items() if name == topic)


def applied(world: World, store: Path, topic: str) -> list[Place]:
    """The raw records that an agent applied, in order."""
    with closing(sqlite3.connect(store)) as db:
        places: list[Place] = db.execute('SELECT topic, partition, "offset" FROM applied ORDER BY seq').fetchall()
    if topic == world.raw:
        return places
    heads = {(r.topic, r.partition, r.offset): head_of(r.value or b"") for r in _all(world, topic)}
    found = [heads[place] for place in places]
    return [(head.topic, head.partition, head.offset) for head in found if head is not None]


def _all(world: World, topic: str) -> Iterable[Record]:
    return (record for records in records_in(world.broker, [topic]).values() for record in records)


def _alone(world: World, name: str, records: list[Record]) -> tuple[Path, Account]:
    """The store and the account of an agent without failures that reads raw records in this order."""
    path = world.folder / f"{name}.db"
    settings = load_settings(None, {**world.settings(world.raw), "store.url": f"sqlite:///{path}"})
    with closing(build.store(settings)) as store:
        account = play(records, settings, store, MemorySink())
    return path, account


def read(store: Path, raw: str) -> tuple[dict[str, Rows], dict[str, float | None]]:
    """The sets of a store, and its estimates by key."""
    with closing(sqlite3.connect(store)) as db:
        sets = {name: Counter[tuple[Any, ...]](db.execute(query, {"raw": raw})) for name, query in SETS.items()}
        return sets, dict(db.execute("SELECT key, accuracy FROM estimates"))


def in_order(store: Path) -> dict[str, Rows]:
    """All tables of a store but the positions, the row numbers included."""
    tables = contents(store)
    del tables["positions"]
    tables["dead_letters"] = [_without_content(row) for row in tables["dead_letters"]]
    return {name: Counter(rows) for name, rows in tables.items()}


def _without_content(letter: tuple[Any, ...]) -> tuple[Any, ...]:
    number, reason, detail, *where, size, headers, key, value = letter
    if reason in OF_THE_CORE:
        size, value = 0, b""
    return (number, reason, detail, *where, size, headers, key, value)


def different(found: dict[str, Rows], expected: dict[str, Rows]) -> dict[str, int]:
    """How many rows only one of the two has, by name; without those that are equal."""
    counts = {
        name: max((rows - expected[name]).total(), (expected[name] - rows).total()) for name, rows in found.items()
    }
    return {name: n for name, n in counts.items() if n}
