"""A boundary with many domains: its estimates are spread over the events that follow, and none is lost or doubled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from driftgauge.models.events import Context, Event, Generation, Label, Pause, Tick
from driftgauge.models.outputs import Acquisition, Estimate, Output
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import signal
from tests.pipeline.stepping import SETTINGS, T0, Agent

N_DOMAINS, AT_ONCE, HOP_S = 40, 6, 100.0
SPREAD = replace(SETTINGS, windows=WindowSpec(2 * HOP_S, 60, HOP_S), windows_at_once=AT_ONCE, min_events=1)


def response(domain: int, at: float, name: str = "") -> Generation:
    rng = np.random.default_rng(domain)
    return Generation(name or f"{domain}/{at}", at, f"d{domain:02}", Context(model="m"), signal(rng, 4))


def one_each(start: float, n_domains: int = N_DOMAINS) -> list[Event]:
    """A response of each domain, all within two seconds."""
    return [response(d, start + d / 20) for d in range(n_domains)]


def ends(outputs: Sequence[Output]) -> list[tuple[str, float]]:
    return [(output.domain, output.window_end) for output in outputs if isinstance(output, Estimate)]


def lists(outputs: Sequence[Output]) -> list[Acquisition]:
    return [output for output in outputs if isinstance(output, Acquisition)]


def agent_at_a_boundary() -> tuple[Agent, list[Output]]:
    agent = Agent(SPREAD)
    agent.take(*one_each(T0))
    return agent, agent.take(response(0, T0 + HOP_S))


def test_a_boundary_emits_some_estimates_at_once_and_the_others_after_further_events() -> None:
    agent, first = agent_at_a_boundary()
    end = T0 + HOP_S
    assert ends(first) == [(f"d{d:02}", end) for d in range(AT_ONCE)]
    assert lists(first) == []
    found = list(first)
    for i in range(1, 200):
        outputs = agent.take(response(0, T0 + HOP_S + i / 100))
        assert len(ends(outputs)) <= AT_ONCE
        found += outputs
    assert ends(found) == [(f"d{d:02}", end) for d in range(3 * AT_ONCE)]  # the 100th and the 200th event came
    found += agent.take(*(response(0, T0 + HOP_S + 10 + i) for i in range(60)))  # ten seconds of event time pass
    assert sorted(ends(found)) == [(f"d{d:02}", end) for d in range(N_DOMAINS)]
    assert [len(acquisition.priorities) for acquisition in lists(found)] == [N_DOMAINS]


def test_the_rest_of_a_boundary_is_emitted_when_the_next_one_comes_first() -> None:
    agent, first = agent_at_a_boundary()
    found = first + agent.take(response(0, T0 + 2 * HOP_S))
    assert max(ends(found)) == (f"d{N_DOMAINS - 1:02}", T0 + HOP_S)
    assert len([end for _, end in ends(found) if end == T0 + HOP_S]) == N_DOMAINS
    assert lists(found)[0].event_time == T0 + HOP_S


@pytest.mark.parametrize("event", [Pause(), Tick(T0 + HOP_S + 1)], ids=["pause", "tick"])
def test_pauses_and_ticks_emit_the_rest_of_a_boundary_in_steps(event: Event) -> None:
    agent, found = agent_at_a_boundary()
    while agent.state.closing is not None:
        outputs = agent.take(event)
        assert 0 < len(ends(outputs)) <= AT_ONCE
        found += outputs
    assert sorted(ends(found)) == [(f"d{d:02}", T0 + HOP_S) for d in range(N_DOMAINS)]


def test_the_rows_of_a_window_are_kept_until_its_turn_also_over_a_restart() -> None:
    estimates = []
    for is_restarted in (False, True):
        agent = Agent(SPREAD)
        agent.take(*one_each(T0 - 90), *one_each(T0))  # the former ones are too old for the window after this one
        found = agent.take(response(0, T0 + HOP_S))
        if is_restarted:
            agent.restart()
        while agent.state.closing is not None:
            found += agent.take(Pause())
        estimates.append([output for output in found if isinstance(output, Estimate)])
    assert estimates[0] == estimates[1]
    assert {e.n_events for e in estimates[0] if e.window_end == T0 + HOP_S and e.domain != "d00"} == {2}


def test_a_domain_that_moves_before_its_turn_gets_both_estimates() -> None:
    agent, _ = agent_at_a_boundary()
    last = N_DOMAINS - 1
    moved = agent.take(*(response(last, T0 + HOP_S + i / 1_000, f"n{i}") for i in range(SPREAD.emit_every_events)))
    labels = [Label(f"l{i}", f"n{i}", T0 + HOP_S, float(i % 2)) for i in range(SPREAD.emit_every_labels)]
    moved += agent.take(*labels)
    while agent.state.closing is not None:
        moved += agent.take(Pause())
    of_last = [(e.window_end, e.revision) for e in moved if isinstance(e, Estimate) and e.domain == f"d{last:02}"]
    assert (T0 + HOP_S, 1) in of_last
    assert (T0 + 2 * HOP_S, 1) in of_last
    assert len(of_last) == len(set(of_last))


def test_a_domain_that_leaves_before_its_turn_keeps_its_estimate() -> None:
    agent = Agent(replace(SPREAD, max_domains=N_DOMAINS))
    agent.take(*one_each(T0))
    found = agent.take(*(response(d, T0 + HOP_S + d / 20) for d in range(N_DOMAINS - 1)))
    found += agent.take(response(N_DOMAINS, T0 + HOP_S + 3))  # the last domain leaves, silent longest
    assert f"d{N_DOMAINS - 1:02}" not in {series.domain for series in agent.state.domains}
    while agent.state.has_news:
        found += agent.take(Tick(T0 + 3 * HOP_S))
    assert (f"d{N_DOMAINS - 1:02}", T0 + HOP_S) in ends(found)


def test_a_late_response_before_the_turn_of_its_domain_is_in_its_estimate() -> None:
    agent, _ = agent_at_a_boundary()
    last = N_DOMAINS - 1
    found = agent.take(response(last, T0 + 50, "late"))
    while agent.state.closing is not None:
        found += agent.take(Pause())
    [estimate] = [e for e in found if isinstance(e, Estimate) and e.domain == f"d{last:02}" and e.revision == 1]
    assert (estimate.window_end, estimate.n_events) == (T0 + HOP_S, 2)
