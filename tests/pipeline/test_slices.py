"""Slices in the agent: their estimates beside those of domains, and the search for weak segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.events import Context, Event, Generation, Label, Tick
from driftgauge.models.outputs import Alert, Estimate, Output, SliceEstimates, WeakSegments
from driftgauge.models.slices.grouping import SlicePlan
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import signal
from tests.pipeline.stepping import SETTINGS, T0, Agent

PLAN = SlicePlan((("language",), ("language", "tenant")), max_values=2)
SLICED = replace(SETTINGS, slices=PLAN)
PERIOD_S = 1_200.0
N = 160
SEARCHED = PipelineSettings(
    windows=WindowSpec(window_s=1_200.0, window_events=2_000, hop_s=600.0),
    label_plan=LabelPlan(period_s=PERIOD_S, budget=Budget(0)),
    slices=SlicePlan(weak_span_s=2 * PERIOD_S),
)


def response(i: int, at: float, slices: dict[str, str], *, correct: bool = True) -> Generation:
    tokens = signal(np.random.default_rng(i), 8, correct=correct)
    return Generation(f"r{i}", at, "a", Context(model="m"), tokens, slices)


def language(i: int) -> dict[str, str]:
    return {"language": ("de", "de", "de", "en", "en", "fr", "it")[i % 7]}


def of(outputs: Iterable[Output], kind: type[SliceEstimates]) -> list[SliceEstimates]:
    return [output for output in outputs if isinstance(output, kind)]


def sizes(made: SliceEstimates) -> dict[str, int]:
    return {one.slice: one.n_events for one in made.slices}


def test_slices_are_estimated_beside_their_domain_with_its_key_and_revision() -> None:
    agent = Agent(SLICED)
    agent.take(*(response(i, T0 + i, language(i)) for i in range(21)), Tick(T0 + 60.0))
    (estimate,) = [output for output in agent.said if isinstance(output, Estimate)]
    (made,) = of(agent.said, SliceEstimates)
    assert (made.key, made.revision, made.window_end) == (estimate.key, 1, estimate.window_end)
    assert sizes(made) == {"language=de": 9, "language=en": 6, "language=(other)": 6}
    assert estimate.n_events == 21, "a slice is no estimate of a domain"


def test_a_slice_with_all_responses_has_the_estimate_of_the_domain() -> None:
    agent = Agent(replace(SLICED, min_events=10))
    agent.take(*(response(i, T0 + i, {"language": "de"}) for i in range(50)))
    agent.take(*(Label(f"l{i}", f"r{i}", T0 + 55.0, float(i % 3 > 0)) for i in range(40)), Tick(T0 + 60.0))
    estimate = [output for output in agent.said if isinstance(output, Estimate)][-1]
    (one,) = of(agent.said, SliceEstimates)[-1].slices
    assert estimate.status == "ok"
    for name in ("status", "accuracy", "ci_low", "ci_high", "n_events", "n_labels", "accuracy_labelled"):
        assert getattr(one, name) == getattr(estimate, name), name


def test_a_combination_holds_the_responses_that_carry_all_its_names() -> None:
    agent = Agent(SLICED)
    carried = [{"language": "de", "tenant": "x"}, {"language": "de"}, {"tenant": "x"}, {}]
    agent.take(*(response(i, T0 + i, carried[i % 4]) for i in range(20)), Tick(T0 + 60.0))
    assert sizes(of(agent.said, SliceEstimates)[0]) == {"language=de": 10, "language=de,tenant=x": 5}


def test_a_late_label_revises_the_slices_of_a_past_window() -> None:
    agent = Agent(SLICED)
    agent.take(*(response(i, T0 + i, language(i)) for i in range(21)), Tick(T0 + 60.0), Tick(T0 + 240.0))
    agent.take(Label("l", "r0", T0 + 250.0, 1.0), response(99, T0 + 250.0, {}), Tick(T0 + 400.0))
    revised = [made for made in of(agent.said, SliceEstimates) if made.window_end == T0 + 60.0]
    assert [made.revision for made in revised] == [1, 2]
    assert [{one.slice: one.n_labels for one in made.slices}["language=de"] for made in revised] == [0, 1]


def test_the_number_of_slices_is_bounded_and_the_rest_is_counted() -> None:
    agent = Agent(replace(SETTINGS, slices=replace(PLAN, max_values=50, max_estimates=3)))
    agent.take(*(response(i, T0 + i, {"language": f"l{i % 7}"}) for i in range(21)), Tick(T0 + 60.0))
    (made,) = of(agent.said, SliceEstimates)
    assert (len(made.slices), made.n_left_out) == (3, 4)


def test_slices_of_a_window_that_the_buffer_has_lost_are_read_from_the_store() -> None:
    late = replace(SLICED, allowed_lateness_s=100.0)
    agent = Agent(late)
    agent.take(*(response(i, T0 + i * 0.5, language(i)) for i in range(100)))
    agent.take(*(response(i, T0 + 61.0 + i * 0.1, {"language": "en"}) for i in range(100, 300)), Tick(T0 + 161.0))
    made = of(agent.said, SliceEstimates)[0]
    assert made.window_end == T0 + 60.0
    assert sum(sizes(made).values()) == SETTINGS.windows.window_events


def searched(
    outputs: Sequence[Output],
) -> tuple[list[WeakSegments], list[Alert]]:
    found = [output for output in outputs if isinstance(output, WeakSegments)]
    return found, [output for output in outputs if isinstance(output, Alert) and output.kind == "weak_segment"]


def take(agent: Agent, *events: Event) -> list[Output]:
    """Take events in one batch."""
    with agent.store.transaction() as transaction:
        outputs = agent.pipeline.step(list(events), transaction)
        transaction.emit(outputs)
    agent.said += outputs
    return outputs


def traffic(n: int, *, of_period: int = 0, weak: str = "de", every: int = 1) -> list[Event]:
    """Responses in four languages and two routes; those of the weak language are labelled wrong more often."""
    log: list[Event] = []
    draw = np.random.default_rng(of_period)
    for i in range(n):
        at = T0 + of_period * PERIOD_S + i * PERIOD_S / n
        slices = {"language": ("de", "en", "fr", "it")[i % 4], "route": "ab"[int(draw.integers(2))]}
        name = of_period * n + i
        log.append(response(name, at, slices))
        if i % every == 0:
            right = draw.random() < (0.3 if slices["language"] == weak else 0.9)
            log.append(Label(f"l{name}", f"r{name}", at + 0.1, float(right)))
    return log


def end_of(period: int) -> Tick:
    return Tick(T0 + (period + 1) * PERIOD_S)


def test_a_weak_slice_is_listed_and_alerted_when_labels_prove_it() -> None:
    agent = Agent(SEARCHED)
    take(agent, *traffic(N))
    assert searched(agent.said) == ([], [])
    (made,), (alert,) = searched(take(agent, end_of(0)))
    (weak, *more) = made.segments
    assert (weak.domain, weak.slice, weak.basis, weak.n, more) == ("a", "language=de", "labels", N // 4, [])
    assert weak.accuracy == pytest.approx(0.3, abs=0.2)
    assert weak.accuracy_outside == pytest.approx(0.9, abs=0.1)
    assert (made.event_time, made.since, made.n_labels) == (T0 + PERIOD_S, T0 - PERIOD_S, N)
    assert (alert.domain, alert.before, alert.after) == ("a", weak.accuracy_outside, weak.accuracy)
    assert "language=de of a worse than the rest" in alert.message


def test_the_alert_about_a_slice_ends_when_labels_no_longer_prove_it() -> None:
    agent = Agent(SEARCHED)
    for period, weak in enumerate(("de", "none", "none")):
        take(agent, *traffic(N, of_period=period, weak=weak), end_of(period))
    found, alerts = searched(agent.said)
    assert [len(made.segments) for made in found] == [1, 1, 0]
    assert [(alert.state, alert.slice) for alert in alerts] == [("firing", "language=de"), ("resolved", "language=de")]
    assert len({alert.identity for alert in alerts}) == 1
    assert alerts[0].n == N // 4
    assert all(agent.row(name).slices["language"] == "de" and agent.row(name).correct == 0 for name in alerts[0].rows)


def test_alerts_about_slices_end_when_the_search_is_switched_off() -> None:
    agent = Agent(SEARCHED)
    take(agent, *traffic(N), end_of(0))
    agent.restart(replace(SEARCHED, slices=SlicePlan(finds_weak=False)))
    take(agent, *traffic(N, of_period=1), end_of(1))
    assert [alert.state for alert in searched(agent.said)[1]] == ["firing", "resolved"]


def test_labels_of_earlier_periods_count_as_long_as_the_span_is() -> None:
    agent = Agent(SEARCHED)
    take(agent, *traffic(N), end_of(0), *traffic(80, of_period=5, every=100), end_of(5))
    first, last = searched(agent.said)[0]
    assert [weak.slice for weak in first.segments] == ["language=de"]
    assert (last.event_time, last.n_labels) == (T0 + 6 * PERIOD_S, 0)
    assert not [weak for weak in last.segments if weak.basis == "labels"]


def test_labels_that_do_not_count_in_estimates_prove_nothing() -> None:
    agent = Agent(SEARCHED)
    thumbs = [replace(event, source="thumbs") if isinstance(event, Label) else event for event in traffic(N)]
    take(agent, *thumbs, end_of(0))
    assert searched(agent.said)[1] == []


def test_predictions_only_suggest_a_segment() -> None:
    agent = Agent(replace(SEARCHED, slices=replace(SEARCHED.slices, weak_min_labels=30)))
    draw = np.random.default_rng(0)
    log: list[Event] = []
    for period, every in ((0, 1), (4, 1_000)):
        for i in range(N):
            at, is_de = T0 + period * PERIOD_S + i * PERIOD_S / N, i % 4 == 0
            right = bool(draw.random() < (0.2 if is_de else 0.9))
            log.append(response(1_000 * period + i, at, {"language": "de" if is_de else "en"}, correct=right))
            if i % every == 0:
                log.append(Label(f"l{period}.{i}", f"r{1_000 * period + i}", at + 0.1, float(right)))
    take(agent, *log)
    alerts = searched(agent.said)[1]
    made = searched(take(agent, end_of(4)))[0][-1]
    (weak,) = made.segments
    assert (weak.slice, weak.basis) == ("language=de", "predictions")
    assert weak.accuracy < weak.accuracy_outside - 0.2
    assert searched(agent.said)[1] == alerts, "no alert without labels"


def test_without_slices_or_when_it_is_off_nothing_is_searched() -> None:
    off = Agent(replace(SEARCHED, slices=SlicePlan(finds_weak=False)))
    take(off, *traffic(N), end_of(0))
    plain = Agent(SEARCHED)
    take(plain, *(replace(e, slices={}) if isinstance(e, Generation) else e for e in traffic(N)), end_of(0))
    assert searched(off.said) == searched(plain.said) == ([], [])


def test_a_period_is_searched_once_also_after_a_restart_and_a_pause() -> None:
    agent = Agent(SEARCHED)
    take(agent, *traffic(100), end_of(0))
    agent.restart()
    take(agent, Tick(T0 + PERIOD_S + 601.0), *traffic(100, of_period=1))
    agent.restart()
    take(agent, end_of(1))
    assert [made.event_time for made in searched(agent.said)[0]] == [T0 + PERIOD_S, T0 + 2 * PERIOD_S]
