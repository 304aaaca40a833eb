"""The real command ``driftgauge run`` as a process that a test can start, kill, stop and watch."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from tests.deadline import until

COMMAND = (sys.executable, "-m", "driftgauge.agent.cli", "run")


class AgentProcess:
    """One agent with its folder, which contains its settings, its store and its log.

    ``command`` starts the agent; ``--config FILE`` is appended to it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], command: tuple[str, ...] = COMMAND) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store, self.log = folder / "store.db", folder / "agent.log"
        self.config = folder / "driftgauge.yaml"
        store = {"url": f"sqlite:///{self.store}", **settings.get("store", {})}
        given = {"server": {"enabled": False}, **settings, "store": store}
        self.config.write_text(json.dumps(given))  # JSON is YAML
        self._command = (*command, "--config", str(self.config))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """End the agent at once (SIGKILL), so that it cannot clean up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """Stop the agent in order (SIGTERM) and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(60)
        self._process = None
        return code

    def wait(self, timeout_s: float = 300.0) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Processes it has started that are not over."""
        return children(self.pid)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def positions(self) -> dict[tuple[str, int], int]:
        """Committed positions by topic and partition."""
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            return {(topic, n): at for topic, n, at in db.execute('SELECT topic, partition, "offset" FROM positions')}
        return {}

    def until_applied(self, n_records: int, timeout_s: float = 600.0) -> None:
        """Wait until this many records are committed; fail with the log if the agent ends before that."""

        def is_there() -> bool:
            assert self.is_running, self.log.read_text()
            return sum(self.positions().values()) >= n_records

        until(is_there, timeout_s, every_s=0.1)


def children(pid: int) -> list[int]:
    """Ids of the child processes of a process that still run."""
    of_threads = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for child in " ".join(of_threads).split() if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    """Whether a process with this id still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def contents(store: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table of a closed store in a comparable form, without the owner epoch."""
    tables = (
        "labels",
        "estimates",
        "alerts",
        "acquisitions",
        "dead_letters",
        "stale_windows",
        "state",
        "positions",
        "outbox",
    )
    queries = {table: f"SELECT * FROM {table} ORDER BY 1, 2" for table in tables}  # noqa: S608 - our own names
    queries["responses"] = """
        SELECT d.name, f.name, r.* FROM responses r
        JOIN names d ON d.seq = r.domain JOIN names f ON f.seq = r.fingerprint ORDER BY r.seq"""
    with closing(sqlite3.connect(store)) as db:
        db.row_factory = _without_name_numbers
        return {table: db.execute(query).fetchall() for table, query in queries.items()}


def _without_name_numbers(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the numbers of interned names: they depend on where batches end, and nothing depends on them."""
    columns = [column[0] for column in cursor.description]
    interned = {"domain", "fingerprint"} if columns[:2] == ["name", "name"] else set()
    return tuple(value for column, value in zip(columns, row, strict=True) if column not in interned)
