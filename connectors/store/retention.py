"""What the store forgets, and what it keeps of it.

Old responses become one row per domain, fingerprint and day; dead letters are bounded by number and bytes, and the
ones that made room are counted. Every step is small enough for one short transaction.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.rows import Values
from driftgauge.connectors.store.statements import upsert

DAY_S = 86_400
_DROPPED = "dead_letters_dropped"
_PAGES_AT_ONCE = 2_000  # 8 MB
_R, _L = schema.responses.c, schema.labels.c


def expire(connection: Connection, older_than: float, max_rows: int) -> int:
    """Aggregate and delete; see `SqlStore.expire`."""
    oldest = select(_R.seq).where(_R.event_time < older_than).order_by(_R.event_time, _R.seq).limit(max_rows)
    columns = (_R.domain, _R.fingerprint, _R.event_time, _R.p_correct, _R.correct)
    going = connection.execute(select(*columns).where(_R.seq.in_(oldest))).all()
    if going:
        connection.execute(upsert(schema.daily, connection.dialect.name, adding=True), _by_day(going))
        joined = schema.responses.join(schema.labels, and_(_L.response_hash == _R.id_hash, _L.response_id == _R.id))
        theirs = select(_L.seq).select_from(joined).where(_R.seq.in_(oldest))
        connection.execute(delete(schema.labels).where(_L.seq.in_(theirs)))
        connection.execute(delete(schema.responses).where(_R.seq.in_(oldest)))
    _expire_outputs(connection, older_than, max_rows)
    return len(going)


def trim_dead_letters(connection: Connection, max_number: int, max_bytes: int) -> None:
    """Keep the newest dead letters up to both bounds, and count the others."""
    newest_first = schema.dead_letters.c.seq.desc()
    ranked = select(
        schema.dead_letters.c.seq,
        func.row_number().over(order_by=newest_first).label("rank"),
        func.sum(schema.dead_letters.c.size_bytes).over(order_by=newest_first).label("total_bytes"),
    ).subquery()
    beyond = select(ranked.c.seq).where(or_(ranked.c.rank > max_number, ranked.c.total_bytes > max_bytes))
    dropped = connection.execute(delete(schema.dead_letters).where(schema.dead_letters.c.seq.in_(beyond))).rowcount
    if dropped:
        count = {"name": _DROPPED, "value": dropped}
        connection.execute(upsert(schema.meta, connection.dialect.name, adding=True), count)


def dropped_dead_letters(connection: Connection) -> int:
    """How many dead letters made room for newer ones."""
    return connection.scalar(select(schema.meta.c.value).where(schema.meta.c.name == _DROPPED)) or 0


def _by_day(going: Iterable[Any]) -> list[Values]:
    """Sums per domain, fingerprint and day, from (domain, fingerprint, event_time, p_correct, correct)."""
    days: dict[tuple[int, int, int], list[float]] = defaultdict(lambda: [0, 0, 0.0, 0, 0.0])
    for domain, fingerprint, event_time, p_correct, correct in going:
        sums = days[domain, fingerprint, int(event_time // DAY_S)]
        sums[0] += 1
        if p_correct is not None:
            sums[1] += 1
            sums[2] += p_correct
        if correct is not None:
            sums[3] += 1
            sums[4] += correct
    names = [column.name for column in schema.daily.columns]
    return [dict(zip(names, (*key, *sums), strict=True)) for key, sums in days.items()]


def _expire_outputs(connection: Connection, older_than: float, max_rows: int) -> None:
    ages = {
        schema.estimates: schema.estimates.c.window_end,
        schema.alerts: schema.alerts.c.event_time,
        schema.acquisitions: schema.acquisitions.c.event_time,
    }
    for table, age in ages.items():
        old = select(table.c.key).where(age < older_than).order_by(age).limit(max_rows)
        connection.execute(delete(table).where(table.c.key.in_(old)))


def shrink(connection: Connection) -> None:
    """Give free pages of a SQLite file back to the disk; not within a transaction.

    As a script, because each step of this statement frees one page and the driver takes one step of a statement
    that returns no rows.
    """
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
