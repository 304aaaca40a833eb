"""A disk is full or a database is away: the agent is not ready, retries and goes on, or stops with the cause."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.outlets.health import Health
from driftgauge.agent.service import backoff as backoff_module
from driftgauge.agent.service.agent import expire_old
from driftgauge.agent.service.backoff import Backoff
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.connectors.testing import MemorySink, MemorySource, MemoryStore
from driftgauge.models.series import SeriesKey
from tests.crash.agents import records
from tests.pipeline.logs import SETTINGS, remembered
from tests.store.examples import response
from tests.store.test_faults import sqlite_connections


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff_module, "FIRST_WAIT_S", 0.01)


class Doctor(Health):
    """Repairs the store as soon as the agent reports that it is not ready."""

    def __init__(self, heal: object) -> None:
        super().__init__()
        self.heal = heal
        self.seen: list[int] = []
        self.cause = ""

    def failure(self, error: ConnectorError | None) -> None:
        super().failure(error)
        self.seen.append(self.readyz().status)
        if error is not None:
            self.cause = str(error)
            assert callable(self.heal)
            self.heal()


def straight(log: Sequence[Record]) -> MemoryStore:
    store = MemoryStore()
    agent(log, store).run()
    return store


def agent(log: Sequence[Record], store: SqlStore | MemoryStore, *observers: Health, patience_s: float = 60) -> Loop:
    return Loop(
        SETTINGS,
        Decoder(encoding="msgpack"),
        store,
        lambda: MemorySource(log, max_records=16),
        MemorySink,
        observers=observers,
        patience_s=patience_s,
    )


def sorted_memory(store: SqlStore | MemoryStore) -> dict[str, object]:
    found: dict[str, Any] = remembered(store)
    return {**found, "rows": sorted(found["rows"])}


def test_an_agent_waits_until_a_full_disk_has_room_and_ends_in_the_same_state(sqlite_url: str) -> None:
    log = records(0, 40)
    with sqlite_connections() as made, closing(open_store(sqlite_url, topics=Topics())) as store:
        pages = made[0].execute("PRAGMA page_count").fetchone()[0]
        made[0].execute(f"PRAGMA max_page_count = {pages + 1}")
        doctor = Doctor(lambda: made[0].execute("PRAGMA max_page_count = 1000000"))
        agent(log, store, doctor).run()
        assert 503 in doctor.seen
        assert doctor.seen[-1] == 200
        assert "disk is full" in doctor.cause
        assert sorted_memory(store) == sorted_memory(straight(log))


def test_a_disk_that_stays_full_stops_the_agent_with_the_cause(sqlite_url: str) -> None:
    with sqlite_connections() as made, closing(open_store(sqlite_url, topics=Topics())) as store:
        pages = made[0].execute("PRAGMA page_count").fetchone()[0]
        made[0].execute(f"PRAGMA max_page_count = {pages + 1}")
        doctor = Doctor(lambda: None)
        with pytest.raises(ConnectorError, match="disk is full"):
            agent(records(0, 40), store, doctor, patience_s=0.1).run()
        assert doctor.seen.count(503) > 1


def test_waits_between_retries_grow_with_jitter_up_to_the_patience() -> None:
    waits: list[float] = []

    class Instant:
        def is_set(self) -> bool:
            return False

        def wait(self, timeout: float) -> None:
            waits.append(timeout)

    backoff = Backoff(100.0, Instant())  # type: ignore[arg-type]  # waiting is what it is for
    away = ConnectorError("away", retriable=True)
    with pytest.raises(ConnectorError, match="away"):
        backoff.until(lambda: _raise(away))
    assert 100.0 <= sum(waits) < 140.0
    assert max(waits) <= backoff_module.LONGEST_WAIT_S
    assert len(set(waits)) == len(waits)  # jitter
    backoff.reset()
    backoff.wait(away)
    assert waits[-1] <= backoff_module.FIRST_WAIT_S
    with pytest.raises(ConnectorError, match="for good"):
        backoff.wait(ConnectorError("for good", retriable=False))


def _raise(error: Exception) -> None:
    raise error


def test_an_unreachable_database_at_the_start_is_retried_and_then_named() -> None:
    flags = ["store.url=postgresql://me:planted-secret@127.0.0.1:1/x", "kafka.patience_s=0.05", "server.port=0"]
    done = CliRunner().invoke(app, ["run", *(f"--set={flag}" for flag in flags)])
    assert isinstance(done.exception, ConnectorError)
    assert "store postgresql://127.0.0.1/x" in str(done.exception)
    assert "planted-secret" not in f"{done.output}{done.exception}"


def test_retention_deletes_more_than_one_transaction_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.agent.service.agent.RETENTION_ROWS", 7)
    with closing(open_store(f"sqlite:///{tmp_path / 'gauge.db'}", topics=Topics())) as store:
        with store.transaction() as memory:
            memory.add_responses([response(n, event_time=float(n)) for n in range(50)])
        expire_old(store, 40.0)
        with store.transaction() as memory:
            assert len(memory.window(SeriesKey("law", "f1"), 0.0, 1e9, 100)) == 10
