"""Schema versions, retention on disk, backups."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event

from driftgauge.connectors.base import ConnectorError, TopicPartition
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.backup import backup
from driftgauge.connectors.store.migrations import MIGRATIONS
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Rejected
from driftgauge.models.series import SeriesKey
from tests.store.examples import label, rejected, response


def test_every_older_schema_version_has_a_migration() -> None:
    assert sorted(MIGRATIONS) == list(range(1, schema.SCHEMA_VERSION))


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gauge.db"
    open_store(f"sqlite:///{path}", topics=Topics()).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = 99 WHERE name = 'schema_version'")
    for opening in (
        lambda: open_store(f"sqlite:///{path}", topics=Topics()),
        lambda: open_queries(f"sqlite:///{path}"),
    ):
        with pytest.raises(ConnectorError, match="schema version 99") as refusal:
            opening()
        assert not refusal.value.retriable


def test_ids_with_the_same_hash_are_distinguished(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "id_hash", lambda text: len(text))
    with closing(open_store(sqlite_url, topics=Topics())) as store, store.transaction() as memory:
        memory.add_responses([response(0, id="aa"), response(1, id="bb")])
        memory.add_labels([label("l1", "aa", 1.0), label("l2", "cc", 1.0)])
        memory.add_aliases([Alias("dd", "aa", 1.0), Alias("ee", "bb", 1.0)])
        assert memory.aliases(["dd", "ff"]) == {"dd": Alias("dd", "aa", 1.0)}
        memory.remove_labels([label("l1", "bb", 1.0)])
        assert memory.responses(["bb", "cc"]).keys() == {"bb"}
        assert memory.labels(["aa", "bb"]).keys() == {"aa"}
        assert [expired.label_id for expired in memory.expire_labels(9.0, 9)] == ["l2"]


def test_only_labels_that_may_wait_are_looked_through_for_those_that_do(tmp_path: Path) -> None:
    path = tmp_path / "gauge.db"
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store, store.transaction() as memory:
        memory.add_responses([response(0)])
        memory.add_labels([label("joined", "r-0", 1.0)], are_joined=True)
        memory.add_labels([label("waits", "r-1", 1.0)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT label_id FROM labels WHERE is_pending").fetchall() == [("waits",)]


def test_dead_letters_are_bounded_by_bytes_too(url: str) -> None:
    with closing(open_store(url, topics=Topics(), max_dead_letter_bytes=1000)) as store:
        with store.transaction() as memory:
            memory.emit([rejected(n, key=None, headers=(), value=bytes(400)) for n in range(5)])
        assert [letter.offset for letter in store.newest(Rejected, 9)] == [4, 3]
        with store.transaction() as memory:
            memory.emit([rejected(9, value=bytes(1001))])
        assert store.newest(Rejected, 9) == []
        assert store.dropped_dead_letters() == 6


def test_retention_keeps_the_size_of_the_file_bounded(tmp_path: Path) -> None:
    path = tmp_path / "gauge.db"
    sizes = []
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store:
        for day in range(6):
            rows = [response(n, event_time=float(n)) for n in range(day * 4000, (day + 1) * 4000)]
            with store.transaction() as memory:
                memory.add_responses(rows)
            while store.expire(day * 4000.0, 1000) == 1000:
                pass
            sizes.append(pages(path))
        largest = max(sizes)
        while store.expire(1e9, 1000) == 1000:
            pass
        assert pages(path) < largest / 3
    assert largest < 1.3 * sizes[1]


def test_a_backup_made_while_the_agent_writes_is_consistent(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'gauge.db'}", tmp_path / "copy.db"
    stop = threading.Event()
    place = TopicPartition("t", 0)
    with closing(open_store(url, topics=Topics())) as store:

        def write() -> None:
            turn = 0
            while not stop.is_set():
                with store.transaction() as memory:
                    memory.add_responses([response(50 * turn + n) for n in range(50)])
                    memory.save_positions({place: 50 * turn + 50})
                turn += 1
                written.set()

        written = threading.Event()
        writer = threading.Thread(target=write)
        writer.start()
        written.wait(30)
        backup(url, copy)
        stop.set()
        writer.join()
    with closing(open_store(f"sqlite:///{copy}", topics=Topics())) as restored, restored.transaction() as memory:
        rows = memory.window(SeriesKey("law", "f1"), 0, 1e9, 10**6)
        assert memory.positions()[place] == len(rows) > 0
        assert np.array_equal(np.sort(rows.seq), np.arange(len(rows)))


def test_a_backup_never_overwrites_and_leaves_no_partial_file(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'gauge.db'}", tmp_path / "copy.db"
    open_store(url, topics=Topics()).close()
    backup(url, copy)
    with pytest.raises(ConnectorError, match="exists already"):
        backup(url, copy)
    with pytest.raises(ConnectorError, match="no backup of"):
        backup(url, tmp_path / "absent" / "copy.db")
    left = {path.name for path in tmp_path.iterdir()} - {"gauge.db-wal", "gauge.db-shm"}
    assert left == {"copy.db", "gauge.db", "gauge.db.lock"}


def test_a_file_that_is_no_store_is_not_backed_up(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(ConnectorError, match="is not a driftgauge store"):
        backup(f"sqlite:///{tmp_path / 'empty.db'}", tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


def test_a_backup_of_a_postgresql_store_refers_to_its_own_tools() -> None:
    with pytest.raises(ConnectorError, match="pg_dump"):
        backup("postgresql://db/gauge", Path("copy"))


def test_no_query_reads_all_responses_or_labels(sqlite_url: str) -> None:
    plans: dict[str, str] = {}

    def explain(connection: Any, _: Any, statement: str, values: Any, *rest: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and not rest[-1]:
            steps = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans[statement] = "; ".join(step[3] for step in steps)

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        with closing(open_store(sqlite_url, topics=Topics())) as store:
            with store.transaction() as memory:
                memory.add_responses([response(0)])
                memory.add_labels([label("l", "r-1", 1.0)])
                memory.responses(["r-0"])
                memory.labels(["r-0"])
                memory.remove_labels([label("m", "r-2")])
                memory.labels_of_topic("t", 10)
                memory.oldest_pending()
                memory.add_aliases([Alias("a", "r-0", 1.0)])
                memory.aliases(["a"])
                memory.window(SeriesKey("law", "f1"), 0.0, 1e9, 10)
                memory.labelled("f1", 10)
                memory.expire_labels(10.0, 10)
            store.expire(1e9, 10)
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    assert len(plans) > 10
    whole_table = re.compile("SCAN (responses|labels|aliases)(?! USING INDEX labels_pending)")  # only those that wait
    assert {query: plan for query, plan in plans.items() if whole_table.search(plan)} == {}


def pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])
