"""Dead letters of a store, for whoever looks at them or sends them again, also while the agent runs.

The agent writes them and never reads them, so another process may remove some: in one short transaction of its own,
which waits for the agent's. How many there can be is bounded by the store.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import delete, select

from driftgauge.connectors.store import rows, schema
from driftgauge.connectors.store.database import parse, shown, translated, writer_engine
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.statements import upsert
from driftgauge.models.events import Rejected

RETRIED = "dead_letters_retried"
_PER_QUERY = 500
_C = schema.dead_letters.c


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter and its number in the store, which grows with time."""

    seq: int
    rejected: Rejected


def find_dead_letters(url: str, *, reason: str = "", limit: int | None = None) -> list[DeadLetter]:
    """The newest dead letters, oldest first; only those with this reason, if one is given."""
    query = select(schema.dead_letters).order_by(_C.seq.desc()).limit(limit)
    with closing(open_queries(url)) as reader:
        found = reader.fetch(query.where(_C.reason == reason) if reason else query)
    return [DeadLetter(row.seq, rows.rejected(row)) for row in reversed(found)]


def forget_dead_letters(url: str, seqs: Collection[int]) -> None:
    """Remove these dead letters, which were sent again, and count them."""
    parsed, numbers = parse(url), list(seqs)
    engine = writer_engine(parsed, "normal")
    with translated(shown(parsed)), engine.begin() as connection:
        for start in range(0, len(numbers), _PER_QUERY):
            connection.execute(delete(schema.dead_letters).where(_C.seq.in_(numbers[start : start + _PER_QUERY])))
        count = {"name": RETRIED, "value": len(numbers)}
        connection.execute(upsert(schema.meta, connection.dialect.name, adding=True), count)
