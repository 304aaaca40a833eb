"""Whether a store changed since the last look."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.connectors.base import ConnectorError, TopicPartition
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.backup import backup
from driftgauge.connectors.store.changes import StoreChanges
from driftgauge.connectors.store.sql_store import SqlStore, open_store


def write(store: SqlStore, offset: int) -> None:
    with store.transaction() as transaction:
        transaction.save_positions({TopicPartition("t", 0): offset})


def test_each_commit_is_seen_once(url: str) -> None:
    with closing(open_store(url, topics=Topics())) as store, closing(StoreChanges(url)) as changes:
        assert changes.look()
        write(store, 1)
        write(store, 2)
        assert changes.look()
    assert changes.look()  # it connects again


def test_nothing_new_is_no_change(sqlite_url: str) -> None:
    with closing(open_store(sqlite_url, topics=Topics())), closing(StoreChanges(sqlite_url)) as changes:
        assert [changes.look() for _ in range(3)] == [True, False, False]


def test_a_look_holds_up_no_writer(url: str) -> None:
    with closing(open_store(url, topics=Topics())) as store, closing(StoreChanges(url)) as changes:
        for offset in range(5):
            changes.look()
            write(store, offset)
            store.expire(0.0, 10)


def test_another_file_in_the_place_of_the_store_is_a_change(sqlite_url: str, tmp_path: Path) -> None:
    copy, place = tmp_path / "copy.db", Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(open_store(sqlite_url, topics=Topics())) as store:
        write(store, 1)
        backup(sqlite_url, copy)
    with closing(StoreChanges(sqlite_url)) as changes:
        assert [changes.look(), changes.look()] == [True, False]
        copy.replace(place)
        assert changes.look()
        with closing(open_store(sqlite_url, topics=Topics())) as store:
            write(store, 2)
        assert changes.look()


def test_without_a_store_a_look_is_an_error_until_there_is_one(sqlite_url: str) -> None:
    with closing(StoreChanges(sqlite_url)) as changes:
        with pytest.raises(ConnectorError, match="there is no store at"):
            changes.look()
        open_store(sqlite_url, topics=Topics()).close()
        assert changes.look()
