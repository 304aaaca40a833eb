"""Label lists of the agent: which responses are on them, with which probabilities, and what becomes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import pytest
from scipy.stats import chi2

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.acquire.sampling import Plan
from driftgauge.models.events import Context, Event, Generation, Label, Tick
from driftgauge.models.outputs import LabelList, Output
from tests.copying import replace
from tests.pipeline.logs import play, signal
from tests.pipeline.stepping import SETTINGS, T0, Agent

PERIOD_S = 120.0
PLAN = LabelPlan(period_s=PERIOD_S, budget=Budget(6, base=0), expires_after=2)
LISTED = replace(SETTINGS, label_plan=PLAN)


def responses(period: int, n: int, domain: str = "a") -> list[Event]:
    """Responses of one period, as their ids say."""
    at = T0 + period * PERIOD_S
    return [
        Generation(
            f"{domain}{period}.{i}", at + i * 100.0 / n, domain, Context(model="m"),
            signal(np.random.default_rng([period, i]), 8), slices={"language": "de"},
            aliases=(f"ticket {domain}{period}.{i}",),
        )
        for i in range(n)
    ]  # fmt: skip


def labels(ids: Iterable[str], *, source: str = "") -> list[Event]:
    return [Label(f"of {name}", name, T0 + 110.0, 1.0, source=source) for name in ids]


def end_of(period: int) -> Tick:
    return Tick(T0 + (period + 1) * PERIOD_S)


def lists(outputs: Iterable[Output]) -> list[LabelList]:
    return [output for output in outputs if isinstance(output, LabelList)]


def asked(made: LabelList) -> set[str]:
    return {request.response_id for request in made.requests}


def test_a_list_is_drawn_from_the_responses_of_its_period_when_that_ends() -> None:
    plan = replace(PLAN, link="https://traces.example/{domain}/{response_id}")
    agent = Agent(replace(LISTED, label_plan=plan))
    assert not lists(agent.take(*responses(0, 20)))
    (made,) = lists(agent.take(end_of(0)))
    assert (made.period_start, made.period_end, made.expires) == (T0, T0 + 120.0, T0 + 360.0)
    assert (made.n_responses, made.n_labelled, len(asked(made)), made.plan) == (20, 0, 6, "systematic")
    assert [request.rank for request in made.requests] == [1, 2, 3, 4, 5, 6]
    first = made.requests[0]
    assert first.inclusion_probability == pytest.approx(6 / 20)
    assert first.aliases == (f"ticket {first.response_id}",)
    assert first.slices == {"language": "de"}
    assert first.link == f"https://traces.example/a/{first.response_id}"
    assert agent.row(first.response_id).event_time == first.event_time


def test_no_response_is_drawn_twice_and_a_silent_period_has_no_list() -> None:
    agent = Agent(LISTED)
    agent.take(*responses(0, 20), *responses(1, 20), end_of(1), *responses(4, 20), end_of(6))
    made = lists(agent.said)
    assert [one.period_start for one in made] == [T0, T0 + 120.0, T0 + 480.0]
    assert len(set.union(*map(asked, made))) == sum(len(one.requests) for one in made)


def test_responses_with_a_label_that_counts_are_not_asked_for_but_those_with_a_thumb_are() -> None:
    agent = Agent(replace(LISTED, label_plan=replace(PLAN, budget=Budget(100, base=0))))
    agent.take(*responses(0, 10), *labels(["a0.1", "a0.2"]), *labels(["a0.3"], source="thumbs"))
    (made,) = lists(agent.take(end_of(0)))
    assert (made.n_responses, made.n_labelled) == (10, 2)
    assert asked(made) == {f"a0.{i}" for i in range(10)} - {"a0.1", "a0.2"}
    assert {request.inclusion_probability for request in made.requests} == {1.0}


def test_responses_with_too_few_log_probabilities_are_asked_for_only_where_no_other_has_any() -> None:
    def without(event: Event) -> Event:
        assert isinstance(event, Generation)
        return replace(event, n_completion_tokens=1_000)

    whole, empty = responses(0, 20), [without(event) for event in responses(0, 20, "b")]
    plan = replace(PLAN, budget=Budget(100, base=0))
    agent = Agent(replace(LISTED, label_plan=plan))
    agent.take(*(without(event) if i % 2 else event for i, event in enumerate(whole)), *empty)
    of_a, of_b = lists(agent.take(end_of(0)))
    assert asked(of_a) == {f"a0.{i}" for i in range(0, 20, 2)}
    assert asked(of_b) == {f"b0.{i}" for i in range(20)}


def test_a_list_has_a_bounded_number_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.agent.core.listing.MAX_REQUESTS", 3)
    agent = Agent(LISTED)
    (made,) = lists(agent.take(*responses(0, 20), end_of(0)))
    assert {request.inclusion_probability for request in made.requests} == {3 / 20}


def test_requests_without_a_label_are_replaced_once_they_expire_and_the_list_says_so() -> None:
    agent = Agent(LISTED)
    agent.take(*responses(0, 20))
    (first,) = lists(agent.take(end_of(0)))
    answered = sorted(asked(first))[:2]
    agent.take(*labels(answered), *responses(1, 20), end_of(1), *responses(2, 20), end_of(2))
    _, waiting, made = lists(agent.said)
    assert (waiting.n_asked, len(waiting.requests)) == (0, 6)
    assert (made.n_asked, made.n_answered, len(made.requests)) == (6, 2, 6 + 4)
    assert {request.inclusion_probability for request in made.requests} == {10 / 20}
    assert "4 of 6 earlier requests brought no label" in made.reason


def test_lists_end_with_the_number_of_requests_in_all() -> None:
    agent = Agent(replace(LISTED, label_plan=replace(PLAN, n_in_all=8)))
    for period in range(3):
        agent.take(*responses(period, 20), end_of(period))
    assert [len(made.requests) for made in lists(agent.said)] == [6, 2]


def test_requests_that_replace_unanswered_ones_stay_within_the_number_in_all() -> None:
    agent = Agent(replace(LISTED, label_plan=replace(PLAN, n_in_all=33, expires_after=1)))
    for period in range(4):
        agent.take(*responses(period, 20), *responses(period, 20, "b"), end_of(period))
    n_requests = [len(made.requests) for made in lists(agent.said)]
    assert sum(n_requests) == 33
    assert sum(n_requests[2:4]) == 12, "the second period replaces all requests of the first"


def test_a_period_need_not_end_at_a_boundary() -> None:
    agent = Agent(replace(LISTED, label_plan=replace(PLAN, period_s=100.0, budget=Budget(50, base=0))))
    agent.take(*responses(0, 20), *responses(1, 20), *responses(2, 20), end_of(9))
    made = lists(agent.said)
    assert [one.period_end - one.period_start for one in made] == [100.0] * len(made)
    assert sorted(id_ for one in made for id_ in asked(one)) == sorted(f"a{p}.{i}" for p in range(3) for i in range(20))


def test_a_period_longer_than_the_window_has_lists_of_all_its_domains() -> None:
    plan = replace(PLAN, period_s=4 * PERIOD_S, budget=Budget(20, base=0, across="equal"))
    agent = Agent(replace(LISTED, label_plan=plan))
    agent.take(*responses(0, 40), *responses(0, 40, "b"), *responses(1, 40), end_of(7))
    assert [(made.domain, made.n_responses, len(asked(made))) for made in lists(agent.said)] == [
        ("a", 80, 10), ("b", 40, 10)]  # fmt: skip


def test_a_domain_that_is_silent_in_a_period_takes_nothing_of_its_budget() -> None:
    plan = replace(PLAN, period_s=60.0, budget=Budget(20, base=0, across="equal"))
    agent = Agent(replace(LISTED, label_plan=plan))
    agent.take(*responses(0, 40, "b"), Tick(T0 + 60.0), *responses(1, 40), Tick(T0 + 180.0))
    assert next(len(asked(made)) for made in lists(agent.said) if made.domain == "a") == 20


def test_without_a_budget_there_are_no_lists() -> None:
    agent = Agent(replace(LISTED, label_plan=replace(PLAN, budget=Budget(0))))
    assert not lists(agent.take(*responses(0, 20), end_of(0)))


def test_lists_of_many_domains_come_in_steps_and_all_before_those_of_the_next_period() -> None:
    plan = replace(PLAN, budget=Budget(100, base=0))
    agent = Agent(replace(LISTED, windows_at_once=2, label_plan=plan))
    domains = "abcdefg"
    for domain in domains:
        agent.take(*responses(0, 3, domain))
    steps = [len(lists(agent.take(end_of(0)))) for _ in range(4)]
    assert (sum(steps), max(steps)) == (4, 2)
    assert agent.state.is_behind
    agent.restart()
    agent.take(*responses(1, 3), end_of(1))
    made = [one for one in lists(agent.said) if one.period_start == T0]
    assert [one.domain for one in made] == list(domains)
    assert [one.rank for one in made] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("within", ["systematic", "uncertainty"])
def test_responses_are_drawn_as_often_as_stated_also_after_restarts_and_missing_labels(within: Plan) -> None:
    """The second list of an agent that is restarted before it, when half of the first one expired without labels."""
    plan = replace(PLAN, budget=Budget(4, base=0), expires_after=1, within=within)
    store = MemoryStore()
    before = [*responses(0, 12), end_of(0), *responses(1, 24)]
    play(store, [before], replace(LISTED, label_plan=plan))
    names, n_draws = [f"a1.{i}" for i in range(24)], 4_000
    count, probability = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for seed in range(n_draws):
        (made,) = _redrawn(store, replace(LISTED, label_plan=replace(plan, seed=seed)))
        assert (made.n_asked, made.n_answered, len(made.requests)) == (4, 0, 8)
        for request in made.requests:
            count[request.response_id] += 1
            probability[request.response_id] = request.inclusion_probability
    expected = np.array([probability[name] for name in names])
    assert expected.sum() == pytest.approx(8)
    observed = np.array([count[name] for name in names])
    variance = n_draws * expected * (1 - expected)
    assert ((observed - n_draws * expected) ** 2 / variance).sum() < chi2.ppf(0.9999, len(names))


class _UndoneError(Exception):
    """The transaction is to be rolled back."""


def _redrawn(store: MemoryStore, settings: PipelineSettings) -> list[LabelList]:
    """The lists of an agent that resumes here and sees the end of the second period; nothing of it is kept."""
    outputs: list[Output] = []
    with contextlib.suppress(_UndoneError), store.transaction() as memory:
        outputs += Pipeline.resume(settings, memory).step([end_of(1)], memory)
        raise _UndoneError
    return lists(outputs)


def test_of_more_responses_than_a_list_looks_at_each_has_the_same_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.agent.core.listing.MAX_CANDIDATES", 10)
    n, n_draws, count = 40, 1_000, np.zeros(40)
    for seed in range(n_draws):
        log = [*responses(0, n, f"{seed}/"), end_of(0)]  # other ids have other hashes
        (made,) = lists(play(MemoryStore(), [log], replace(LISTED, label_plan=replace(PLAN, seed=seed))))
        assert {request.inclusion_probability for request in made.requests} == {6 / n}
        count[[int(request.response_id.split(".")[1]) for request in made.requests]] += 1
    expected = n_draws * 6 / n
    assert ((count - expected) ** 2 / (expected * (1 - 6 / n))).sum() < chi2.ppf(0.9999, n)
