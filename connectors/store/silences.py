"""Silences of a store: made and ended by people beside the agent, and read by delivery.

The agent neither reads nor writes them, so another process may: in one short transaction, which waits for the agent's.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from sqlalchemy import CursorResult, Executable, insert, select, update

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.database import parse, shown, translated, writer_engine
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.models.alerts.silence import Silence

MAX_SILENCES = 1_000
"""Silences that are read; of more, the newest."""

_S = schema.silences.c


def silences(queries: StoreQueries, now: float) -> list[Silence]:
    """The silences that have not ended by now (UTC seconds), the oldest first."""
    query = select(schema.silences).where(_S.until > now).order_by(_S.seq.desc()).limit(MAX_SILENCES)
    found = reversed(queries.fetch(query))
    return [Silence(row.until, row.reason, row.kind, row.domain, row.slice, row.seq) for row in found]


def add_silence(url: str, silence: Silence) -> int:
    """Store a silence; returns its number."""
    values = {"until": silence.until, "reason": silence.reason, "kind": silence.kind}
    adding = insert(schema.silences).values(**values, domain=silence.domain, slice=silence.slice)
    key: Any = _write(url, adding).inserted_primary_key
    return int(key.seq)


def end_silence(url: str, number: int, now: float) -> bool:
    """End a silence now; False: there is none with this number, or it is over."""
    ending = update(schema.silences).where(_S.seq == number, _S.until > now).values(until=now)
    return _write(url, ending).rowcount > 0


def _write(url: str, statement: Executable) -> CursorResult[Any]:
    with closing(open_queries(url)):  # it must be a store of this version
        pass
    parsed = parse(url)
    with translated(shown(parsed)), writer_engine(parsed, "normal").begin() as connection:
        return connection.execute(statement)
