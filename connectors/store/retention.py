"""What the store deletes, and what it keeps instead.

Old responses become one row per domain, fingerprint and day; these rows have a retention of their own. Outputs are
deleted by their event time. Dead letters are bounded in number and bytes; those that were deleted to make room are
counted. Each step is a short transaction.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select

from driftgauge.connectors.publishing.kinds import stored_kinds
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import output_table
from driftgauge.connectors.store.rows import Values
from driftgauge.connectors.store.statements import upsert
from driftgauge.models.events import Rejected

DAY_S = 86_400
_DROPPED = "dead_letters_dropped"
_PAGES_AT_ONCE = 2_000  # 8 MB
_R, _L = schema.responses.c, schema.labels.c


def expire(connection: Connection, older_than: float, max_rows: int) -> int:
    """Aggregate and delete old responses, with their labels and aliases, and old outputs; see `SqlStore.expire`."""
    oldest = select(_R.seq).where(_R.event_time < older_than).order_by(_R.event_time, _R.seq).limit(max_rows)
    columns = (_R.domain, _R.fingerprint, _R.event_time, _R.p_correct, _R.correct)
    expired = connection.execute(select(*columns).where(_R.seq.in_(oldest))).all()
    if expired:
        connection.execute(upsert(schema.daily, connection.dialect.name, adding=True), _by_day(expired))
        joined = schema.responses.join(schema.labels, and_(_L.response_hash == _R.id_hash, _L.response_id == _R.id))
        of_them = select(_L.seq).select_from(joined).where(_R.seq.in_(oldest))
        connection.execute(delete(schema.labels).where(_L.seq.in_(of_them)))
        connection.execute(delete(schema.responses).where(_R.seq.in_(oldest)))
    # no response that is left is older than the youngest one deleted, so no alias of that age is needed either
    horizon = older_than if len(expired) < max_rows else max(row.event_time for row in expired)
    connection.execute(delete(schema.aliases).where(schema.aliases.c.event_time < horizon))
    _expire_outputs(connection, older_than, max_rows)
    return len(expired)


def day_of(event_time: float) -> int:
    """The number of the day of an event time since the epoch, in UTC; -1 before it, and where the time is unknown.

    >>> day_of(86_400.0), day_of(float("-inf"))
    (1, -1)
    """
    return int(event_time // DAY_S) if event_time >= 0 else -1


def expire_days(connection: Connection, before: int) -> None:
    """Delete the sums of the days before this one."""
    connection.execute(delete(schema.daily).where(schema.daily.c.day < before))


def trim_dead_letters(connection: Connection, max_number: int, max_bytes: int) -> None:
    """Keep the newest dead letters up to both bounds, and count the others."""
    table = output_table(Rejected)
    newest_first = table.c.seq.desc()
    ranked = select(
        table.c.seq,
        func.row_number().over(order_by=newest_first).label("rank"),
        func.sum(table.c.size_bytes).over(order_by=newest_first).label("total_bytes"),
    ).subquery()
    beyond = select(ranked.c.seq).where(or_(ranked.c.rank > max_number, ranked.c.total_bytes > max_bytes))
    dropped = connection.execute(delete(table).where(table.c.seq.in_(beyond))).rowcount
    if dropped:
        count = {"name": _DROPPED, "value": dropped}
        connection.execute(upsert(schema.meta, connection.dialect.name, adding=True), count)


def dropped_dead_letters(connection: Connection) -> int:
    """How many dead letters made room for newer ones."""
    return connection.scalar(select(schema.meta.c.value).where(schema.meta.c.name == _DROPPED)) or 0


def _by_day(expired: Iterable[Any]) -> list[Values]:
    """Sums per domain, fingerprint and day, from (domain, fingerprint, event_time, p_correct, correct)."""
    days: dict[tuple[int, int, int], list[float]] = defaultdict(lambda: [0, 0, 0.0, 0, 0.0])
    for domain, fingerprint, event_time, p_correct, correct in expired:
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
    for kind in stored_kinds():
        if kind.event_time:
            table = output_table(kind.record)
            age = table.c[kind.event_time]
            old = select(table.c.key).where(age < older_than).order_by(age).limit(max_rows)
            connection.execute(delete(table).where(table.c.key.in_(old)))


def shrink(connection: Connection) -> None:
    """Return free pages of a SQLite file to the disk; not within a transaction.

    It runs as a script, because each step of this statement frees one page, and the driver takes only one step of a
    statement that returns no rows.
    """
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
