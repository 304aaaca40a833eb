"""Contexts and domains that left for newer ones: what they get back when they return, and what labels do meanwhile."""

from __future__ import annotations

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.models.events import Context, Event, Generation, Label, Pause, Tick
from driftgauge.models.outputs import Alert, Estimate
from tests.copying import replace
from tests.pipeline.logs import signal
from tests.pipeline.stepping import SETTINGS, T0, Agent

FEW = replace(SETTINGS, max_domains=2, max_fingerprints=2, default_target=0.9)
N = 40


def response(i: int, at: float, model: str = "m", domain: str = "a") -> Generation:
    return Generation(f"r{i}", at, domain, Context(model=model), signal(np.random.default_rng(i), 8))


def wrong(i: int, at: float) -> Label:
    return Label(f"l{i}", f"r{i}", at, float(i % 4 == 0))


def learned() -> Agent:
    """An agent whose first context learned from `N` labels, most of them wrong; its alarm is raised."""
    agent = Agent(FEW)
    for i in range(N):
        agent.take(response(i, T0 + i / 10), wrong(i, T0 + 10))
    agent.take(Tick(T0 + 130))
    return agent


def only_context(agent: Agent, model: str) -> ContextState:
    (context,) = [context for context in agent.state.contexts.values() if context.model == model]
    return context


def only_domain(agent: Agent, name: str, model: str = "m") -> DomainState:
    contexts = agent.state.contexts
    (domain,) = [
        d for s, d in agent.state.domains.items() if (s.domain, contexts[s.fingerprint].model) == (name, model)
    ]
    return domain


def driven_out(agent: Agent, start: float = T0 + 140) -> None:
    """Two newer contexts take the places of all others."""
    agent.take(response(100, start, "m2"), response(101, start + 1, "m3"))
    assert {context.model for context in agent.state.contexts.values()} == {"m2", "m3"}


def kinds(agent: Agent) -> list[str]:
    return [output.kind for output in agent.said if isinstance(output, Alert)]


def test_a_context_that_returns_goes_on_with_its_classifier_window_alarm_and_estimate() -> None:
    agent = learned()
    committee, domain = only_context(agent, "m").committee, only_domain(agent, "a")
    features = agent.row("r7").features[None]
    p_correct = committee.predict_proba(features, ["a"])
    known = domain.watch.snapshot(), domain.last_estimate, domain.rank, domain.drift.snapshot()
    assert domain.watch.is_raised
    driven_out(agent)
    agent.restart()
    agent.take(response(200, T0 + 150))
    after, returned = only_context(agent, "m"), only_domain(agent, "a")
    assert after.committee.n_labels == N
    np.testing.assert_array_equal(after.committee.predict_proba(features, ["a"]), p_correct)
    assert after.committee.offsets.offsets.keys() == {"a"}
    assert (returned.watch.snapshot(), returned.last_estimate, returned.rank) == known[:3]
    assert returned.watch.is_raised
    assert "returned_context" in kinds(agent)
    assert kinds(agent).count("new_context") == 3
    assert (agent.state.counters["contexts_retired"], agent.state.counters["contexts_returned"]) == (2, 1)


def test_a_context_whose_rows_are_recent_returns_with_its_window() -> None:
    agent = Agent(FEW)
    agent.take(*(response(i, T0 + i) for i in range(4)))
    driven_out(agent, T0 + 5)
    agent.take(response(9, T0 + 8), Pause())
    newest = [o for o in agent.said if isinstance(o, Estimate) and o.model == "m"][-1]
    assert newest.n_events == 5


def test_responses_of_a_context_that_leaves_before_the_boundary_are_estimated_at_the_boundary() -> None:
    agent = Agent(FEW)
    agent.take(*(response(i, T0 + i) for i in range(4)))
    driven_out(agent, T0 + 5)
    agent.restart()
    agent.take(Tick(T0 + 61))
    (estimate,) = [o for o in agent.said if isinstance(o, Estimate) and o.model == "m"]
    assert (estimate.window_end, estimate.n_events) == (T0 + 60, 4)


def test_a_label_for_a_context_that_left_takes_effect_and_drives_nothing_out() -> None:
    agent = learned()
    agent.take(response(50, T0 + 131), Tick(T0 + 200))
    driven_out(agent, T0 + 210)
    live = {*agent.state.contexts}
    agent.take(wrong(50, T0 + 215))
    assert {*agent.state.contexts} == live
    assert agent.row("r50").label_kind
    agent.take(Tick(T0 + 300))
    again = [o for o in agent.said if isinstance(o, Estimate) and o.model == "m" and o.window_end == T0 + 180]
    assert [(e.revision, e.n_labels) for e in again][-1] == (again[0].revision + 1, again[0].n_labels + 1)
    agent.take(response(200, T0 + 310))
    assert only_context(agent, "m").committee.n_labels == N + 1


def test_a_label_for_a_context_that_was_forgotten_only_joins_its_response() -> None:
    agent = learned()
    for n in range(4):  # two live contexts, and two that are remembered
        agent.take(response(100 + n, T0 + 140 + n, f"n{n}"))
    agent.take(Label("late", "r1", T0 + 150, 1.0))
    assert agent.row("r1").correct == 1.0
    assert agent.state.counters["labels_without_context"] == 1
    agent.take(response(200, T0 + 160))
    assert only_context(agent, "m").committee.n_labels == 0
    assert kinds(agent).count("new_context") == 5  # that it is new again is told a day later at the earliest
    assert agent.state.counters["contexts_returned"] == 0


def test_a_domain_that_returns_goes_on_with_its_alarm_and_its_correction() -> None:
    agent = learned()
    known = only_domain(agent, "a")
    offset = only_context(agent, "m").committee.offsets.offsets["a"]
    agent.take(*(response(100 + n, T0 + 200 + 70 * n, domain=name) for n, name in enumerate("bc")))
    assert {series.domain for series in agent.state.domains} == {"b", "c"}
    assert only_context(agent, "m").committee.offsets.offsets == {}
    agent.restart()
    agent.take(response(200, T0 + 400))
    returned = only_domain(agent, "a")
    assert returned.watch.snapshot() == known.watch.snapshot()
    assert only_context(agent, "m").committee.offsets.offsets == {"a": offset}
    assert agent.state.counters["domains_returned"] == 1


def test_a_new_domain_never_gets_the_rank_of_one_that_left() -> None:
    agent, ranks = Agent(FEW), []
    for n, name in enumerate("abcdef"):
        agent.take(response(n, T0 + 70 * n, domain=name))
        ranks.append(only_domain(agent, name).rank)
        agent.restart()
    assert ranks == [1, 2, 3, 4, 5, 6]


def test_a_restart_does_not_read_the_state_of_what_left() -> None:
    agent = learned()
    driven_out(agent)
    retired = agent.store.tables.retired
    assert len(retired) == 2
    agent.store.tables.retired = {name: (number, b"not readable") for name, (number, _) in retired.items()}
    agent.restart()
    assert len(agent.state.contexts) == 2


def test_weekly_releases_at_two_temperatures_are_estimated_all_year() -> None:
    agent, week = Agent(replace(SETTINGS, max_fingerprints=16)), 7 * 86_400.0
    for n in range(52):
        events: list[Event] = [
            replace(response(10 * n + i, T0 + n * week + i), context=Context(model=f"v{n}", temperature=i % 2 / 2))
            for i in range(8)
        ]
        agent.take(*events)
    agent.take(Tick(T0 + 52 * week))
    ok = {(e.model, e.fingerprint) for e in agent.said if isinstance(e, Estimate) and e.n_events == 4}
    assert len(ok) == 104
    assert len(agent.state.contexts) == 16
    assert not [output for output in agent.said if type(output).__name__ == "Rejected"]
