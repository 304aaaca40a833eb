"""Late labels and responses change closed windows: each is estimated again, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from driftgauge.models.events import Context, Event, Generation, Label, Pause, Tick
from driftgauge.models.outputs import Estimate, Output
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import signal
from tests.pipeline.stepping import SETTINGS, T0, Agent

N_DOMAINS, PER_DOMAIN, N_LABELS = 3, 120, 150
BOUNDED = replace(SETTINGS, windows=WindowSpec(240.0, 60, 10.0), max_pending_labels=10, windows_at_once=7)
Window = tuple[str, float]


def traffic(start: float = T0, n: int = PER_DOMAIN) -> list[Event]:
    """A response of each domain every five seconds."""
    rng = np.random.default_rng(int(start))
    return [
        Generation(f"r{start + 5 * i}/{d}", start + 5.0 * i, "abc"[d], Context(model="m"), signal(rng, 4))
        for i in range(n)
        for d in range(N_DOMAINS)
    ]


def imported() -> list[Event]:
    """Labels of responses all over the time of `traffic`, in order of time."""
    rng = np.random.default_rng(0)
    of = sorted(rng.choice(N_DOMAINS * PER_DOMAIN, N_LABELS, replace=False).tolist())
    names = [event.id for event in traffic() if isinstance(event, Generation)]
    return [Label(f"l{n}", names[n], T0 + 600, float(rng.random() < 0.7)) for n in of]


def windows_changed(boundary: float) -> set[Window]:
    """Closed windows that hold a labelled response."""
    labelled = {event.response_id for event in imported() if isinstance(event, Label)}
    rows = [event for event in traffic() if isinstance(event, Generation) and event.id in labelled]
    ends = {r.id: BOUNDED.windows.ends_holding(r.event_time, boundary - BOUNDED.windows.hop_s) for r in rows}
    return {(row.domain, end) for row in rows for end in ends[row.id]}


def past(outputs: Sequence[Output], boundary: float) -> list[Window]:
    return [(o.domain, o.window_end) for o in outputs if isinstance(o, Estimate) and o.window_end < boundary]


def agent_after_the_import(at_once: int = 7) -> Agent:
    agent = Agent(replace(BOUNDED, windows_at_once=at_once))
    agent.take(*traffic())
    agent.take(*imported())
    return agent


def test_every_window_that_an_import_of_labels_changes_is_estimated_again_once_beside_live_traffic() -> None:
    agent = agent_after_the_import()
    boundary, expected = agent.state.boundary, windows_changed(agent.state.boundary)
    assert agent.state.n_stale == len(expected) > 150
    again: list[Window] = []
    live = iter(traffic(T0 + 600.0, 2_000))
    while agent.state.n_stale:
        found = past(agent.take(next(live)), boundary)
        assert len(found) <= 2 * BOUNDED.windows_at_once  # where a boundary is the hundredth event
        again += found
    assert sorted(again) == sorted(expected)
    assert agent.state.n_due == 0


def test_marked_windows_wait_for_the_next_boundary_so_that_labels_between_boundaries_cost_one_estimate() -> None:
    agent = agent_after_the_import()
    assert past(agent.take(*(traffic(T0 + 595.0 + i / 100, 1)[0] for i in range(200))), T0 + 500) == []
    assert agent.state.n_due == 0
    assert len(past(agent.take(*traffic(T0 + 600.0, 1)), agent.state.boundary - 10)) == 7
    assert agent.state.n_due == agent.state.n_stale > 0


@pytest.mark.parametrize("is_file", [False, True], ids=["pause", "tick"])
def test_pauses_and_ticks_go_on_until_no_window_waits(is_file: bool) -> None:
    agent = agent_after_the_import()
    boundary = agent.state.boundary
    again: list[Window] = []
    while agent.state.has_news:
        found = past(agent.take(Tick(agent.state.end) if is_file else Pause()), boundary)
        assert 1 <= len(found) <= 2 * 7  # a tick may reach a boundary
        again += found
    assert sorted(again) == sorted(windows_changed(boundary))


def test_a_trickle_of_events_works_windows_off_by_event_time() -> None:
    agent = Agent(replace(BOUNDED, windows=WindowSpec(240.0, 60, 60.0), windows_at_once=1))
    agent.take(*traffic(), *imported())
    n_minutes = agent.state.n_stale // 4
    assert n_minutes > 5
    agent.take(*(traffic(T0 + 600.0 + 3 * i, 1)[0] for i in range(20 * n_minutes)))
    assert agent.state.n_stale == 0


def test_dense_traffic_works_windows_off_by_the_number_of_events() -> None:
    agent = agent_after_the_import()
    agent.take(*traffic(T0 + 600.0, 1))
    before = agent.state.n_stale
    agent.take(*(traffic(T0 + 600.5 + i / 100, 1)[0] for i in range(500)))
    assert before - agent.state.n_stale == 5 * 7


def test_windows_estimated_together_give_the_estimates_of_windows_estimated_alone() -> None:
    few, many = agent_after_the_import(N_DOMAINS), agent_after_the_import(1_000)
    for agent in (few, many):
        while agent.state.has_news:
            agent.take(Pause())
    assert few.store.tables.outputs["estimates"] == many.store.tables.outputs["estimates"]


def test_windows_of_a_busy_domain_are_estimated_from_their_newest_rows_together_and_alone() -> None:
    busy = replace(BOUNDED, windows=WindowSpec(240.0, 5, 10.0))
    agents = [Agent(replace(busy, windows_at_once=n)) for n in (N_DOMAINS, 1_000)]
    for agent in agents:
        agent.take(*traffic(), *imported())
        while agent.state.has_news:
            agent.take(Pause())
    few, many = (agent.store.tables.outputs["estimates"] for agent in agents)
    assert few == many
    assert max(estimate.n_events for estimate in few.values()) == 5


def test_a_window_whose_responses_were_deleted_meanwhile_keeps_its_estimate_and_is_counted() -> None:
    agent = agent_after_the_import(1_000)
    before, marked = dict(agent.store.tables.outputs["estimates"]), agent.state.n_stale
    agent.store.tables.outputs["estimates"].update(before)
    while agent.store.expire(T0 + 300.0, 1_000) == 1_000:
        pass
    agent.store.tables.outputs["estimates"].update(before)
    again = past(agent.take(Pause()), agent.state.boundary)
    assert len(again) + agent.state.counters["stale_windows_expired"] == marked
    assert {end for _, end in again} == {end for _, end in again if end > T0 + 300.0}
    assert agent.state.counters["stale_windows_expired"] > 0
