"""One writer per store: the agent that writes holds a lock, so that a second agent is refused at its start.

An agent may lose the lock to a takeover while it is suspended. Its next write is rejected by the epoch in the store,
which every transaction checks. It may lose the file itself (`FileIdentity`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection, text

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.database import shown, sqlite_path

_BUSY = "another agent is using the store {}; stop it first"


class Ownership(Protocol):
    """A claim on a store."""

    def release(self) -> None:
        """Give the claim up, so that another agent may have it; safe to call twice."""
        ...


def claim(connection: Connection, *, takeover: bool) -> Ownership:
    """Claim the right to write through this connection.

    Raises
    ------
    ConnectorError
        Another agent has the right, and ``takeover`` is false.
    """
    url = connection.engine.url
    if connection.dialect.name == "sqlite":
        path = sqlite_path(url)
        return FileLock(path.with_name(path.name + ".lock"), takeover=takeover)
    with connection.begin():
        return AdvisoryLock(connection, shown(url), takeover=takeover)


class FileIdentity:
    """Which file an SQLite store is; without effect for a database on a server.

    SQLite goes on with a file that was deleted or replaced, and all that it writes is lost with the last process that
    has it open.
    """

    def __init__(self, url: URL) -> None:
        self._path = sqlite_path(url) if url.get_backend_name() == "sqlite" else None
        self._opened = self._found()

    def check(self) -> None:
        """Raise `ConnectorError` unless the path still leads to the file that was opened."""
        if self._found() != self._opened:
            text = (
                f"the store {self._path} was deleted or replaced while this agent had it open; start the agent again, "
                "and it goes on from what is there"
            )
            raise ConnectorError(text, retriable=False)

    def _found(self) -> tuple[int, int] | None:
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return found and (found.st_dev, found.st_ino)


class FileLock:
    """An exclusive lock on a file beside the store.

    The kernel releases the lock when the process ends in any way. A takeover replaces the file: the old owner keeps its
    lock on a file that no agent looks at any more.
    """

    def __init__(self, path: Path, *, takeover: bool) -> None:
        try:
            if takeover:
                path.unlink(missing_ok=True)
            self._descriptor: int | None = self._claim(path)
        except BlockingIOError:
            raise ConnectorError(_BUSY.format(path.name.removesuffix(".lock")), retriable=False) from None
        except OSError as error:
            raise ConnectorError(f"cannot lock the store: {error.strerror}: {path}", retriable=False) from None

    @staticmethod
    def _claim(path: Path) -> int:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)  # replaced by a takeover in between: that file counts, not this one

    def release(self) -> None:
        """Give the claim up, so that another agent may have it; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AdvisoryLock:
    """PostgreSQL's lock on a number; the connection that writes holds it.

    A takeover ends the connection of the old owner, and with it a transaction that may be open.
    """

    def __init__(self, connection: Connection, name: str, *, takeover: bool) -> None:
        self._connection = connection
        place = connection.scalar(text("SELECT current_database() || '.' || current_schema()"))
        digest = hashlib.blake2b(f"driftgauge:{place}".encode(), digest_size=8).digest()
        self._number = int.from_bytes(digest, "big", signed=True)
        if takeover:
            connection.execute(_END_OWNER, self._halves())
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": self._number})
        elif not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": self._number}):
            raise ConnectorError(_BUSY.format(name), retriable=False)

    def release(self) -> None:
        """Do nothing: PostgreSQL releases the lock when its connection ends."""

    def _halves(self) -> dict[str, int]:
        unsigned = self._number % 2**64
        return {"high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF}


_END_OWNER = text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks"
    " WHERE locktype = 'advisory' AND objsubid = 1 AND classid = :high AND objid = :low"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()"
)
