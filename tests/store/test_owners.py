"""One writer per store: refused at the start, or fenced off later."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.connectors.base import ConnectorError, FencedError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store import database
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from tests.store.conftest import POSTGRES

HOLD = """
import sys
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
store = open_store(sys.argv[1], topics=Topics())
print("open", flush=True)
sys.stdin.read()
"""


def reopen(url: str, *, takeover: bool = False) -> SqlStore:
    return open_store(url, topics=Topics(), takeover=takeover)


def test_a_second_agent_is_refused_and_the_first_still_writes(url: str) -> None:
    with closing(reopen(url)) as first:
        with pytest.raises(ConnectorError, match="another agent is using the store") as refusal:
            reopen(url)
        assert not refusal.value.retriable
        with first.transaction() as memory:
            memory.save_state({"a": b"1"})
    with closing(reopen(url)) as later, later.transaction() as memory:
        assert memory.state("a") == {"a": b"1"}


def test_the_store_of_a_killed_process_is_free_at_once(url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(ConnectorError, match="another agent"):
            reopen(url)
        process.kill()
        process.wait()
    opened = None
    for _ in range(100):  # the server may need a moment to notice
        try:
            opened = reopen(url)
            break
        except ConnectorError:
            continue
    assert opened is not None
    opened.close()


def test_an_agent_that_was_taken_over_cannot_write_again(url: str) -> None:
    zombie = reopen(url)
    with closing(reopen(url, takeover=True)) as owner:
        for _ in range(2):
            with pytest.raises(FencedError, match="took over"), zombie.transaction():
                pass
        with pytest.raises(ConnectorError, match="another agent"):
            reopen(url)
        zombie.close()
        with owner.transaction():
            pass


def test_a_second_takeover_fences_both_earlier_agents(url: str) -> None:
    first = reopen(url)
    second = reopen(url, takeover=True)
    third = reopen(url, takeover=True)
    for fenced in (first, second):
        with pytest.raises(FencedError), fenced.transaction():
            pass
        fenced.close()
    with third.transaction():
        pass
    third.close()
    reopen(url).close()


@pytest.mark.parametrize("url", [POSTGRES], indirect=True)
def test_a_takeover_ends_an_open_transaction_of_the_old_owner(url: str) -> None:
    zombie = reopen(url)
    asleep = zombie.transaction()
    memory = asleep.__enter__()
    memory.save_state({"a": b"half"})
    assert memory.state("a")
    with closing(reopen(url, takeover=True)) as owner:
        with owner.transaction() as memory:
            assert memory.state("a") == {}
            memory.save_state({"a": b"owner"})
        with pytest.raises(ConnectorError):
            asleep.__exit__(None, None, None)
        with pytest.raises(FencedError), zombie.transaction():
            pass
        with owner.transaction() as memory:
            assert memory.state("a") == {"a": b"owner"}


def test_a_takeover_of_a_busy_sqlite_store_waits_and_then_names_the_cause(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    with closing(reopen(sqlite_url)) as owner, owner.transaction() as memory:
        memory.save_state({"a": b"1"})
        with pytest.raises(ConnectorError, match="database is locked") as refusal:
            reopen(sqlite_url, takeover=True)
        assert refusal.value.retriable
    reopen(sqlite_url).close()  # the attempt holds nothing


def test_a_restored_old_backup_gets_an_epoch_that_was_never_used(tmp_path: Path) -> None:
    path = tmp_path / "gauge.db"
    began = int(time.time())
    with closing(reopen(f"sqlite:///{path}")) as live:
        used = live.epoch
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = 5 WHERE name = 'epoch'")  # as in a backup from long ago
    with closing(reopen(f"sqlite:///{path}")) as restored:
        assert restored.epoch >= used >= began


def test_a_transaction_on_a_closed_store_raises_an_error(url: str) -> None:
    store = reopen(url)
    store.close()
    with pytest.raises(ConnectorError, match="is closed"), store.transaction():
        pass
