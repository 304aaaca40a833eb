"""A copy of a SQLite store, made while the agent runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.database import cause, parse, reader_engine, sqlite_path


def backup(url: str, target: Path) -> None:
    """Copy a SQLite store while the agent runs; the copy is complete, or there is none.

    The copy holds the source positions too: an agent started on it continues from there. The broker must still have
    the records since.

    Raises
    ------
    ConnectorError
        The store is not a SQLite file or not a store, the target exists, or the copy failed.
    """
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        raise ConnectorError("a PostgreSQL store is backed up with its own tools: pg_dump", retriable=False)
    if target.exists():
        raise ConnectorError(f"{target} exists already", retriable=False)
    unfinished = target.with_name(target.name + ".part")
    engine = reader_engine(parsed)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(schema.meta.name):  # a store of any version
                raise ConnectorError(f"{sqlite_path(parsed)} is not a driftgauge store", retriable=False)
            _copy(connection, unfinished)
        unfinished.rename(target)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        text = f"no backup of {sqlite_path(parsed)} at {target}: {cause(error)}"
        raise ConnectorError(text, retriable=False) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(connection: Connection, target: Path) -> None:
    """Copy all pages in one step: a reader of a write-ahead log sees one instant and blocks no writer."""
    source = connection.connection.driver_connection
    if source is None:
        raise ConnectorError("the connection was lost", retriable=True)
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
