"""Dead letters of a store: find them, and delete those that were sent again, also while the agent runs.

The agent writes dead letters and never reads them, so another process may delete some: in one short transaction, which
waits for the agent's. The store bounds how many there are.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, select

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.database import parse, shown, translated, writer_engine
from driftgauge.connectors.store.output_tables import output_from, output_table
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.statements import per_query, upsert
from driftgauge.models.events import Rejected

RETRIED = "dead_letters_retried"
_TABLE = output_table(Rejected)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter with its number in the store; numbers grow with time."""

    seq: int
    rejected: Rejected


class DeadLetterHead(NamedTuple):
    """What may be shown of a dead letter: all but its content."""

    seq: int
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    size_bytes: int


def newest_heads(queries: StoreQueries, limit: int) -> list[DeadLetterHead]:
    """The newest dead letters without their content, the newest first."""
    columns = [_TABLE.c[name] for name in DeadLetterHead._fields]
    return [DeadLetterHead(*row) for row in queries.fetch(select(*columns).order_by(_TABLE.c.seq.desc()).limit(limit))]


def find_dead_letters(url: str, *, reason: str = "", limit: int | None = None) -> list[DeadLetter]:
    """The newest dead letters, oldest first; only those with this reason, if one is given."""
    query = select(_TABLE).order_by(_TABLE.c.seq.desc()).limit(limit)
    with closing(open_queries(url)) as queries:
        found = queries.fetch(query.where(_TABLE.c.reason == reason) if reason else query)
    return [DeadLetter(row.seq, output_from(Rejected, row)) for row in reversed(found)]


def forget_dead_letters(url: str, seqs: Collection[int]) -> None:
    """Delete these dead letters, because they were sent again, and count them."""
    parsed = parse(url)
    engine = writer_engine(parsed, "normal")
    with translated(shown(parsed)), engine.begin() as connection:
        for part in per_query(seqs):
            connection.execute(delete(_TABLE).where(_TABLE.c.seq.in_(part)))
        count = {"name": RETRIED, "value": len(seqs)}
        connection.execute(upsert(schema.meta, connection.dialect.name, adding=True), count)
