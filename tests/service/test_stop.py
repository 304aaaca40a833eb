"""An orderly stop emits pending estimates once the agent serves, and does nothing before."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from driftgauge.agent.service.agent import run_agent
from driftgauge.agent.service.loop import Loop
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import ConnectorError, FencedError, Message, Positions, Record, Sink, Source
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.testing import MemorySink, MemorySource, MemoryStore, Tables
from tests.crash import agents
from tests.service.test_pause import SETTINGS

LOG = [record for record in agents.records(0, 80) if record.partition == 0]  # no window is open at its end
AWAY = ConnectorError("broker a:9092 is away", retriable=True)


class StoppedInTheFirstWait(threading.Event):
    """A stop that comes while the agent waits after a failure."""

    n_waits = 0

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the event's own parameter
        self.n_waits += 1
        self.set()
        return True


class BrokenAtTheEnd(MemorySource):
    """A source that gives the whole log and then loses its connection."""

    def poll(self, timeout_s: float) -> Sequence[Record]:
        records = super().poll(timeout_s)
        if not records:
            raise AWAY
        return records

    @property
    def is_exhausted(self) -> bool:
        return False


class Unreachable(MemorySource):
    """A source that cannot be opened."""

    def open(self, positions: Positions) -> None:  # noqa: ARG002 - a source's shape
        raise AWAY


class Refusing(MemorySink):
    """A sink that is reached and acknowledges nothing."""

    def publish(self, messages: Sequence[Message]) -> None:  # noqa: ARG002 - a sink's shape
        raise AWAY


def in_turn(*makers: Callable[[], Sink]) -> Callable[[], Sink]:
    """Opens one sink after another; the last one again and again."""
    left = list(makers)
    return lambda: (left.pop(0) if len(left) > 1 else left[0])()


def stopped_in_a_wait(
    store: MemoryStore, source: Source, open_sink: Callable[[], Sink] = MemorySink
) -> StoppedInTheFirstWait:
    """Run an agent whose source fails, stop it in the wait that follows, and return how it waited."""
    stopping = StoppedInTheFirstWait()
    Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: source, open_sink, stopping=stopping).run()
    return stopping


def estimates(store: MemoryStore) -> dict[str, tuple[int, int, float | None]]:
    return {key: (e.n_events, e.n_labels, e.accuracy) for key, e in store.tables.outputs["estimates"].items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[int, int, float | None]]:
    """The estimates of an agent whose source came to its end."""
    store = MemoryStore()
    Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: MemorySource(LOG), MemorySink).run()
    return estimates(store)


@pytest.fixture
def killed() -> Tables:
    """The store of an agent that applied the whole log and was killed before it emitted pending estimates."""
    store = MemoryStore()
    fenced = in_turn(MemorySink, _fenced)
    with pytest.raises(FencedError):
        stopped_in_a_wait(store, BrokenAtTheEnd(LOG), fenced)
    return store.tables


def _fenced() -> Sink:
    raise FencedError("another agent took over")


def test_a_stop_during_a_wait_after_a_failure_emits_pending_estimates(expected: object) -> None:
    store, sink = MemoryStore(), MemorySink()
    assert stopped_in_a_wait(store, BrokenAtTheEnd(LOG), lambda: sink).n_waits == 1
    assert estimates(store) == expected
    assert not store.tables.outbox
    assert {m.key.decode() for m in sink.messages if m.topic == "driftgauge.estimates"} == store.tables.outputs[
        "estimates"
    ].keys()


def test_a_sink_that_is_away_at_the_stop_leaves_estimates_pending_for_the_next_run(
    expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    stopped_in_a_wait(store, BrokenAtTheEnd(LOG), in_turn(MemorySink, _away))
    assert estimates(store) != expected
    assert "broker a:9092 is away; pending estimates stay in the store until the next run" in caplog.text
    stopped_in_a_wait(store, BrokenAtTheEnd(LOG))
    assert estimates(store) == expected


def _away() -> Sink:
    raise AWAY


def test_messages_that_a_sink_refused_at_the_stop_are_published_by_the_next_run(expected: object) -> None:
    store, sink = MemoryStore(), MemorySink()
    stopped_in_a_wait(store, BrokenAtTheEnd(LOG), in_turn(lambda: sink, Refusing))
    revisions = {key: e.revision for key, e in store.tables.outputs["estimates"].items()}
    assert estimates(store) == expected
    assert store.tables.outbox
    stopped_in_a_wait(store, BrokenAtTheEnd(LOG), lambda: sink)
    assert not store.tables.outbox
    assert {key: e.revision for key, e in store.tables.outputs["estimates"].items()} == revisions


def test_an_agent_that_another_one_replaced_says_so_also_when_it_is_stopped() -> None:
    with pytest.raises(FencedError):
        stopped_in_a_wait(MemoryStore(), BrokenAtTheEnd(LOG), in_turn(MemorySink, _fenced))


def test_an_agent_stopped_before_its_source_was_opened_emits_nothing(killed: Tables, expected: object) -> None:
    store, sink = MemoryStore(killed), MemorySink()
    assert stopped_in_a_wait(store, Unreachable(LOG), lambda: sink).n_waits == 1
    assert sink.messages == []
    assert estimates(store) != expected


def test_an_agent_stopped_before_it_runs_opens_nothing() -> None:
    loop = Loop(SETTINGS, Decoder(), MemoryStore(), lambda: MemorySource(LOG), _fenced)
    loop.stop()
    loop.run()


def test_an_agent_stopped_while_it_waits_for_its_store_ends_in_order() -> None:
    away = {"store.url": "postgresql://127.0.0.1:1/x", "server.enabled": False}
    stopping = StoppedInTheFirstWait()
    run_agent(load_settings(overrides=away), stopping)
    assert stopping.n_waits == 1


STOPPED_DURING_IMPORTS = """
import signal, sys

class Stop:
    def find_spec(name, path=None, target=None):
        if name == "driftgauge.agent.service.agent":
            signal.raise_signal(signal.SIGTERM)

sys.meta_path.insert(0, Stop)
sys.argv[1:] = ["run", "--set=server.enabled=false", "--set=kafka.bootstrap_servers=127.0.0.1:1"]
from driftgauge.agent.cli import main
main()
"""


def test_an_agent_stopped_during_its_imports_ends_in_order(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED_DURING_IMPORTS], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())  # not even a store was made
