"""A silent source: pending estimates are emitted after a pause, and before an orderly stop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.health import Health
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.testing import MemorySink, MemorySource, MemoryStore
from driftgauge.models.events import Context
from driftgauge.models.outputs import Output, ReportWritten
from driftgauge.models.selection import Selection
from tests.copying import replace
from tests.crash import agents
from tests.pipeline import logs
from tests.pipeline.stepping import T0, response
from tests.sources import Endless

SETTINGS = replace(logs.SETTINGS, windows_at_once=1_000)

LOG = [record for record in agents.records(0, 80) if record.partition == 0]  # no window is open at its end


class Emissions(Health):
    """Keeps, for each emission that no record caused, whether the agent was still running."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.while_running: list[bool] = []

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:
        super().batch(records, outputs, state)
        if not records:
            assert outputs
            self.while_running.append(not self.loop.stopping.is_set())


def agent(store: MemoryStore, n_polls: int, pause_after_s: float, settings: PipelineSettings = SETTINGS) -> Loop:
    """An agent that is stopped after this number of polls without records."""
    source, polls = Endless(LOG, max_records=16), itertools.count(1)
    loop = Loop(settings, Decoder(encoding="msgpack"), store, lambda: source, MemorySink, pause_after_s=pause_after_s)

    def count() -> None:
        if next(polls) >= n_polls:
            loop.stop()

    source.at_the_end = count
    return loop


@pytest.mark.parametrize(("pause_after_s", "while_running"), [(0.0, [True]), (3_600.0, [False])])
def test_pending_estimates_are_emitted_once_in_a_pause_or_before_the_stop(
    pause_after_s: float, while_running: list[bool]
) -> None:
    loop = agent(MemoryStore(), 5, pause_after_s)
    emissions = Emissions(loop)
    loop.observers = [emissions]
    loop.run()
    assert emissions.while_running == while_running


def test_records_of_other_agents_do_not_put_the_pause_off() -> None:
    others = [replace(response(i, T0 + i), context=Context(model="other")) for i in range(40, 80)]
    values = map(encode_generation, [*(response(i, T0 + i) for i in range(40)), *others])
    log = [Record("generations", 0, offset, None, value) for offset, value in enumerate(values)]
    loop = agent(MemoryStore(), 1, 0.0, replace(SETTINGS, selection=Selection(only={"model": ["m"]})))
    source = loop.open_source()
    assert isinstance(source, Endless)
    source.log = log
    emissions = Emissions(loop)
    loop.observers = [emissions]
    loop.run()
    assert emissions.while_running == [True]
    assert loop.account.passed_over == len(others)


def test_what_a_job_beside_the_loop_emits_is_published_in_a_pause() -> None:
    store = MemoryStore()
    loop = agent(store, 5, 0.0)
    source, left = loop.open_source(), []
    assert isinstance(source, Endless)
    count = source.at_the_end

    def emit_in_the_third_poll() -> None:
        count()
        left.append(len(store.outbox(10)))
        if len(left) == 3:
            with store.transaction() as transaction:
                transaction.emit([ReportWritten(0.0, 60.0, "UTC", ("a.md",), 0, 0, 0, 0, 0)])
            left[-1] = len(store.outbox(10))

    source.at_the_end = emit_in_the_third_poll
    loop.run()
    assert left[2:] == [1, 0, 0]


def test_estimates_at_the_stop_equal_those_of_a_source_that_ended() -> None:
    silent, ended = MemoryStore(), MemoryStore()
    agent(silent, 1, 3_600.0).run()
    Loop(SETTINGS, Decoder(encoding="msgpack"), ended, lambda: MemorySource(LOG), MemorySink).run()
    assert estimates(silent) == estimates(ended)


def test_a_silent_source_leaves_no_past_window_waiting() -> None:
    store, few = MemoryStore(), replace(SETTINGS, windows_at_once=1)
    loop = agent(store, 300, 0.0, few)
    emissions = Emissions(loop)
    loop.observers = [emissions]
    loop.run()
    assert len(emissions.while_running) > 10
    assert all(emissions.while_running)
    assert store.tables.stale == {}
    with store.transaction() as transaction:
        assert not State.resume(few, transaction).has_news


def test_past_windows_beyond_the_bound_wait_in_the_store_while_the_agent_is_stopped() -> None:
    store, few = MemoryStore(), replace(SETTINGS, windows_at_once=1)
    agent(store, 1, 3_600.0, few).run()
    waiting = len(store.tables.stale)
    assert waiting > 10
    agent(store, 1, 3_600.0, few).run()
    assert 0 < len(store.tables.stale) < waiting


def estimates(store: MemoryStore) -> dict[str, tuple[int, int, float | None]]:
    return {key: (e.n_events, e.n_labels, e.accuracy) for key, e in store.tables.outputs["estimates"].items()}
