"""Whether a store was written to since the last look: cheap enough to ask every second."""

from __future__ import annotations

from sqlalchemy import Connection, text

from driftgauge.connectors.store.database import parse, reader_engine, shown, sqlite_path, translated

_COUNTERS = {
    "sqlite": text("PRAGMA data_version"),
    "postgresql": text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"),
}
"""A number that changes with each commit of another connection. PostgreSQL counts those of all its databases."""


class StoreChanges:
    """Looks at a store through a connection of its own, which is opened at the first look.

    A SQLite file that was replaced by another, as a restored backup is, counts as a change.
    """

    def __init__(self, url: str) -> None:
        self._url = parse(url)
        self._connection: Connection | None = None
        self._seen: tuple[int, int] | None = None

    def look(self) -> bool:
        """Whether the store changed since the last look; True at the first one.

        Raises
        ------
        ConnectorError
            There is no store, or it cannot be read; the next look connects again.
        """
        try:
            with translated(shown(self._url)):
                found = self._file(), self._counter()
        except Exception:
            self.close()
            raise
        is_new, self._seen = found != self._seen, found
        return is_new

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        connection, self._connection, self._seen = self._connection, None, None
        if connection is not None:
            connection.close()

    def _file(self) -> int:
        """The number of the file, 0 of a server; a connection to another file is closed."""
        if self._url.get_backend_name() != "sqlite":
            return 0
        path = sqlite_path(self._url)
        number = path.stat().st_ino if path.is_file() else 0
        if self._seen is not None and number != self._seen[0]:
            self.close()
        return number

    def _counter(self) -> int:
        if self._connection is None:
            self._connection = reader_engine(self._url).connect()
        with self._connection.begin():
            return int(self._connection.execute(_COUNTERS[self._url.get_backend_name()]).scalar_one())
