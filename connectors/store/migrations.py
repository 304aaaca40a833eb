"""Bringing a store's schema to this code's version, one step at a time, in one transaction.

A new store is made at the newest version. `MIGRATIONS` holds, for each older version, the function that takes a
store from it to the next. A table that a store lacks is created without a new version, so a new kind of output needs
no migration. A store newer than the code is refused: half-understood rows would be worse than a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, insert, inspect, select, text
from sqlalchemy.schema import CreateColumn

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import create_tables
from driftgauge.connectors.store.rows import stale_values
from driftgauge.connectors.store.statements import upsert
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow

_VERSION, _READER = "schema_version", "oldest_reader"


def _to_2(connection: Connection) -> None:
    """Aliases of responses, and topics of labels; neither is known of what was stored before."""
    schema.aliases.create(connection)
    _add_column(connection, schema.labels.c.topic)
    schema.LABELS_BY_TOPIC.create(connection)


def _to_3(connection: Connection) -> None:
    """Marks of stale windows move from the state of the stream, in its first format, into a table."""
    schema.stale_windows.create(connection)
    stream = connection.scalar(select(schema.state.c.value).where(schema.state.c.name == "stream"))
    if stream is None:
        return
    (*_, boundary), _, _, stale, *_ = msgspec.msgpack.decode(stream)
    windows = [StaleWindow(boundary, SeriesKey(domain, fingerprint), end) for domain, fingerprint, end in stale]
    if windows:
        connection.execute(insert(schema.stale_windows), [stale_values(window) for window in windows])


def _to_4(connection: Connection) -> None:
    """Sources of labels; none is known of what was stored before."""
    _add_column(connection, schema.labels.c.source)


def _add_column(connection: Connection, column: Column[Any]) -> None:
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}"))


_ALERT_COLUMNS = (
    "state TEXT NOT NULL DEFAULT 'resolved'",
    "began BIGINT NOT NULL DEFAULT 0",
    "slice TEXT NOT NULL DEFAULT ''",
    "n BIGINT",
    "rows TEXT NOT NULL DEFAULT '[]'",
    "link TEXT",
    "inhibited_by TEXT NOT NULL DEFAULT ''",
)


def _to_5(connection: Connection) -> None:
    """Alerts get a life, and `back_on_target` becomes the end of `below_target`.

    What was stored counts as over, but for the alarms that nothing ended.
    """
    if not inspect(connection).has_table("alerts"):
        return
    for column in _ALERT_COLUMNS:
        connection.execute(text(f"ALTER TABLE alerts ADD COLUMN {column}"))
    connection.execute(
        text(
            "UPDATE alerts SET state = 'firing', began = number WHERE kind = 'below_target' AND NOT EXISTS ("
            "SELECT 1 FROM alerts AS later WHERE later.kind = 'back_on_target' AND later.domain = alerts.domain "
            "AND later.fingerprint = alerts.fingerprint AND later.number > alerts.number)"
        )
    )
    to_the_end = "UPDATE alerts SET kind = 'below_target', severity = 'alarm' WHERE kind = 'back_on_target'"
    connection.execute(text(to_the_end))
    connection.execute(text("CREATE INDEX alerts_by_number ON alerts (number)"))


MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5}


def migrate(connection: Connection) -> None:
    """Make the tables of a new store, or bring those of an old one up to date."""
    found = schema_version(connection)
    if found is not None:
        for step in range(found, schema.SCHEMA_VERSION):
            MIGRATIONS[step](connection)
    create_tables(connection)
    needed = [{"name": _VERSION, "value": schema.SCHEMA_VERSION}, {"name": _READER, "value": schema.OLDEST_READER}]
    connection.execute(upsert(schema.meta, connection.dialect.name), needed)


def schema_version(connection: Connection) -> int | None:
    """The schema version of a store; None when it has no tables yet.

    Raises
    ------
    ConnectorError
        A newer driftgauge wrote the store; the text names the oldest version that reads it.
    """
    if not inspect(connection).has_table(schema.meta.name):
        return None
    found = _meta(connection, _VERSION)
    if found is not None and found > schema.SCHEMA_VERSION:
        reader = _meta(connection, _READER) or 0
        version = f"{reader // 10_000}.{reader // 100 % 100}.{reader % 100}"
        known = f"this driftgauge knows {schema.SCHEMA_VERSION}: use {version} or newer"
        raise ConnectorError(f"the store has schema version {found}, {known}", retriable=False)
    return found


def _meta(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(schema.meta.c.value).where(schema.meta.c.name == name))
