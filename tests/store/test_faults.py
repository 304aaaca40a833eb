"""A database fails: the error names the cause and whether a retry may help, and nothing is stored half."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, make_url

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.backup import backup
from driftgauge.connectors.store.sql_store import open_store
from tests.store.conftest import at_database, running_postgres
from tests.store.examples import response


@contextmanager
def sqlite_connections() -> Iterator[list[sqlite3.Connection]]:
    """The driver's connections, as they are made."""
    made: list[sqlite3.Connection] = []

    def note(connection: Any, _: Any) -> None:
        made.append(connection)

    event.listen(Engine, "connect", note)
    try:
        yield made
    finally:
        event.remove(Engine, "connect", note)


def test_a_full_disk_raises_a_retriable_error_and_loses_nothing(sqlite_url: str) -> None:
    with sqlite_connections() as made, closing(open_store(sqlite_url, topics=Topics())) as store:
        with store.transaction() as memory:
            memory.save_state({"n": b"1"})
        pages = made[0].execute("PRAGMA page_count").fetchone()[0]
        made[0].execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(ConnectorError, match="disk is full") as failure, store.transaction() as memory:  # noqa: PT012 - it may show at any write
            memory.save_state({"n": b"2"})
            memory.add_responses([response(n) for n in range(5000)])
        assert failure.value.retriable
        made[0].execute("PRAGMA max_page_count = 1000000")
        with store.transaction() as memory:
            assert memory.state("n") == {"n": b"1"}
            memory.add_responses([response(n) for n in range(5000)])


def test_a_read_only_store_raises_a_retriable_error_and_works_again_afterwards(sqlite_url: str) -> None:
    with sqlite_connections() as made, closing(open_store(sqlite_url, topics=Topics())) as store:
        made[0].execute("PRAGMA query_only = 1")
        with pytest.raises(ConnectorError, match="readonly database") as failure, store.transaction() as memory:
            memory.save_state({"n": b"2"})
        assert failure.value.retriable
        made[0].execute("PRAGMA query_only = 0")
        with store.transaction() as memory:
            assert memory.state("n") == {}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:////proc/nowhere/gauge.db", "the folder /proc/nowhere does not exist"),
        ("sqlite://", "use sqlite:///file.db"),
        ("mysql://me:planted-secret@db/x", "no store for mysql://db/x"),
        ("me:planted-secret@db", "cannot be read"),
        ("postgresql://me@db:planted-secret/x", "cannot be read"),
        ("postgresql://me:planted-secret@127.0.0.1:1/x", "(?i)refused"),
    ],
)
def test_an_unusable_url_raises_an_error_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ConnectorError, match=why) as failure:
        open_store(url, topics=Topics())
    assert "planted-secret" not in str(failure.value)
    assert failure.value.retriable is ("127.0.0.1" in url)


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"These are notes, not a database. " * 200)
    before = path.read_bytes()
    with pytest.raises(ConnectorError, match="file is not a database") as failure:
        open_store(f"sqlite:///{path}", topics=Topics())
    assert not failure.value.retriable
    assert path.read_bytes() == before


@pytest.mark.parametrize("put_back", [False, True])
def test_a_store_that_was_deleted_or_replaced_is_not_written_any_more(tmp_path: Path, put_back: bool) -> None:
    path, copy = tmp_path / "gauge.db", tmp_path / "copy.db"
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store:
        with store.transaction() as memory:
            memory.save_state({"n": b"1"})
        backup(f"sqlite:///{path}", copy)
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            (tmp_path / name).unlink()
        if put_back:
            copy.rename(path)
        with pytest.raises(ConnectorError, match="deleted or replaced while this agent had it open") as failure:
            store.outbox(1)
        assert not failure.value.retriable
        with pytest.raises(ConnectorError, match="deleted or replaced"), store.transaction():
            pass
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store, store.transaction() as memory:
        assert memory.state("n") == ({"n": b"1"} if put_back else {})


def test_errors_show_no_stored_values(sqlite_url: str) -> None:
    with closing(open_store(sqlite_url, topics=Topics())) as store:
        with pytest.raises(ConnectorError) as failure, store.transaction() as memory:
            memory.add_responses([response(0, text="planted-secret"), response(0, text="planted-secret")])
        assert "planted-secret" not in f"{failure.value}{failure.value.__cause__}"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A server that tests may stop and start."""
    with running_postgres() as running:
        yield running


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
class TestPostgres:
    def test_a_store_works_again_after_a_restart_of_the_server(self, server: Any) -> None:
        with closing(open_store(server.get_uri(), topics=Topics())) as store:
            epoch = store.epoch
            with store.transaction() as memory:
                memory.save_state({"restart": b"1"})
            stop(server)
            for _ in range(2):
                with pytest.raises(ConnectorError) as failure, store.transaction():
                    pass
                assert failure.value.retriable
            server.ensure_postgres_running()
            with store.transaction() as memory:
                assert memory.state("restart") == {"restart": b"1"}
            assert store.epoch == epoch

    def test_a_restart_of_the_server_rolls_back_an_open_transaction(self, server: Any) -> None:
        with closing(open_store(server.get_uri(), topics=Topics())) as store:
            with pytest.raises(ConnectorError) as failure, store.transaction() as memory:  # noqa: PT012 - at the commit
                memory.save_state({"undone": b"1"})
                assert memory.state("undone")
                stop(server)
            assert failure.value.retriable
            server.ensure_postgres_running()
            with store.transaction() as memory:
                assert memory.state("undone") == {}

    def test_a_lost_connection_is_opened_again_and_keeps_its_lock(self, postgres_url: str) -> None:
        with closing(open_store(postgres_url, topics=Topics())) as store:
            with closing(psycopg.connect(postgres_url, autocommit=True)) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            with store.transaction() as memory:
                memory.save_state({"n": b"1"})
            with pytest.raises(ConnectorError, match="another agent"):
                open_store(postgres_url, topics=Topics())

    def test_a_database_that_lost_transactions_in_a_failover_is_not_written_any_more(self, postgres_url: str) -> None:
        name = make_url(postgres_url).database
        server = at_database(postgres_url, "postgres")
        with (
            closing(open_store(postgres_url, topics=Topics())) as store,
            closing(psycopg.connect(server, autocommit=True)) as admin,
        ):
            with store.transaction() as memory:
                memory.save_state({"n": b"1"})
            end_connections(admin, name)
            admin.execute(f"CREATE DATABASE {name}_standby TEMPLATE {name}".encode())
            with store.transaction() as memory:  # the standby never gets it
                memory.save_state({"n": b"2"})
            end_connections(admin, name)
            admin.execute(f"DROP DATABASE {name}".encode())
            admin.execute(f"ALTER DATABASE {name}_standby RENAME TO {name}".encode())
            for _ in range(2):
                with pytest.raises(ConnectorError, match=r"\(the newest 1\)") as failure, store.transaction():
                    pass
                assert not failure.value.retriable
        with closing(open_store(postgres_url, topics=Topics())) as store, store.transaction() as memory:
            assert memory.state("n") == {"n": b"1"}

    def test_a_connection_that_leads_to_a_read_only_server_is_given_up(self, postgres_url: str) -> None:
        name = make_url(postgres_url).database
        with (
            closing(open_store(postgres_url, topics=Topics())) as store,
            closing(psycopg.connect(at_database(postgres_url, "postgres"), autocommit=True)) as admin,
        ):
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            end_connections(admin, name)
            for _ in range(2):
                with pytest.raises(ConnectorError, match="read-only transaction") as failure, store.transaction():
                    pass
                assert failure.value.retriable
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
            with suppress(ConnectorError), store.transaction():
                pass
            with store.transaction() as memory:
                memory.save_state({"n": b"1"})

    def test_a_database_that_does_not_exist_is_not_retriable(self, postgres_url: str) -> None:
        with pytest.raises(ConnectorError, match='database "absent" does not exist') as failure:
            open_store(at_database(postgres_url, "absent"), topics=Topics())
        assert not failure.value.retriable

    def test_a_wrong_password_is_named_and_not_retriable(self, server: Any) -> None:
        with closing(psycopg.connect(server.get_uri(), autocommit=True)) as admin:
            admin.execute("CREATE ROLE gauge LOGIN PASSWORD 'right'")
            rules = server.pgdata / "pg_hba.conf"
            rules.write_text("local all gauge scram-sha-256\n" + rules.read_text())
            admin.execute("SELECT pg_reload_conf()")
        url = server.get_uri().replace("postgres:@", "gauge:planted-secret@")
        with pytest.raises(ConnectorError, match="password authentication failed") as failure:
            open_store(url, topics=Topics())
        assert not failure.value.retriable
        assert "planted-secret" not in str(failure.value)


def end_connections(admin: psycopg.Connection[Any], database: str | None) -> None:
    """End every connection to a database, and wait until it has ended."""
    admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (database,))


def stop(server: Any) -> None:
    """Stop the server at once, as a crash would, and wait until it has ended."""
    process = server.get_postmaster_info().process
    os.kill(process.pid, signal.SIGQUIT)
    process.wait(30)
