"""Connections to a database, and whether an error of the database is worth a retry.

No text shows a password or a bound value: errors name the database and quote the first line of the driver's message.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from driftgauge.connectors.base import ConnectorError, RefusedValueError

Synchronous: TypeAlias = Literal["normal", "full"]

BUSY_TIMEOUT_S = 30.0
"""Seconds to wait for another process that is writing to the same SQLite file."""

_CACHE_KIB = 65_536
_WAL_PAGES = 16_000  # 64 MB: pages of the id index are written many times before they are copied back once

_RETRIABLE_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}
_POSTGRES_PORT = 5432
_READ_ONLY = "25006"
# lost connection, rolled back, out of resources, operator's intervention, read-only (a standby before it is promoted)
_RETRIABLE_SQLSTATES = ("08", "40", "53", "57", "55P03", _READ_ONLY)
_NOT_RETRIABLE = ("password authentication failed", "does not exist", "no pg_hba.conf entry")


def parse(url: str) -> URL:
    """The parsed URL of a supported database: ``sqlite:///file`` or ``postgresql://…``.

    Raises
    ------
    ConnectorError
        The URL is of another kind; the text never repeats the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise ConnectorError("the store's URL cannot be read; write sqlite:///file.db", retriable=False) from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite+pysqlite")
    raise ConnectorError(
        f"no store for {shown(parsed)}: use sqlite:///file.db or postgresql://user@host/name", retriable=False
    )


def shown(url: URL) -> str:
    """The URL without user, password and options, for logs and errors.

    >>> shown(make_url("postgresql://me:secret@db.example/gauge?sslpassword=x"))
    'postgresql://db.example/gauge'
    """
    return f"{url.get_backend_name()}://{url.host or ''}/{url.database or ''}"


def writer_engine(url: URL, synchronous: Synchronous) -> Engine:
    """An engine whose transactions take the write lock at once."""
    if url.get_backend_name() == "postgresql":
        return _postgres(url)
    folder_of(url)
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
    )
    pragmas = (
        "auto_vacuum=INCREMENTAL",  # first: it cannot be changed once the file has tables
        "journal_mode=WAL",
        f"synchronous={synchronous.upper()}",
        f"cache_size=-{_CACHE_KIB}",
        f"wal_autocheckpoint={_WAL_PAGES}",
        f"journal_size_limit={_WAL_PAGES * 4096}",
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reader_engine(url: URL) -> Engine:
    """An engine that cannot write; a SQLite file must exist."""
    if url.get_backend_name() == "postgresql":
        engine = _postgres(url)
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    path = sqlite_path(url)
    if not path.is_file():
        raise ConnectorError(f"there is no store at {path}", retriable=False)
    uri = f"file:{quote(str(path))}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=BUSY_TIMEOUT_S)

    return create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True)


def is_same_store(one: str, other: str) -> bool:
    """Whether two URLs name one store, whatever the path of a file or the user of a server.

    >>> is_same_store("sqlite:///gauge.db", f"sqlite:///{Path.cwd()}/gauge.db")
    True
    >>> is_same_store("postgresql://me@db.example/gauge", "postgresql+psycopg://you@db.example:5432/gauge")
    True
    """
    return _identity(parse(one)) == _identity(parse(other))


def _identity(url: URL) -> tuple[object, ...]:
    if url.get_backend_name() == "sqlite":
        return (sqlite_path(url).resolve(),)
    return url.host, url.port or _POSTGRES_PORT, url.database


def sqlite_path(url: URL) -> Path:
    """The file of a SQLite URL."""
    return Path(url.database or "")


def folder_of(url: URL) -> Path:
    """The folder of a SQLite store.

    Raises
    ------
    ConnectorError
        It does not exist; SQLite would only say that it cannot open the file.
    """
    folder = sqlite_path(url).absolute().parent
    if not folder.is_dir():
        raise ConnectorError(f"{shown(url)} cannot be made: the folder {folder} does not exist", retriable=False)
    return folder


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise errors of the database as `ConnectorError`, which knows whether a retry may help.

    A value that the database cannot hold raises `RefusedValueError`.
    """
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise RefusedValueError(f"store {name}: {cause(error)}") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise ConnectorError(f"store {name}: {cause(error)}", retriable=_is_retriable(error)) from error


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError:
        raise ConnectorError("PostgreSQL needs an extra: pip install 'driftgauge[postgres]'", retriable=False) from None


def cause(error: Exception) -> str:
    """The first line of the driver's message; PostgreSQL puts values on the later lines."""
    text = str(_original(error))
    return text.strip().partition("\n")[0] or type(error).__name__


def is_read_only_server(error: BaseException) -> bool:
    """Whether the server refused to write: it is a standby, or was made read-only."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _READ_ONLY


def _is_retriable(error: Exception) -> bool:
    original = _original(error)
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", -1) & 0xFF in _RETRIABLE_SQLITE  # the rest are extended codes
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(original, "sqlstate", None)
    if sqlstate:
        return str(sqlstate).startswith(_RETRIABLE_SQLSTATES)
    is_lost = error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return is_lost and not any(words in str(original) for words in _NOT_RETRIABLE)


def _original(error: Exception) -> BaseException:
    """The driver's own error."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
