"""What labels do on their way through the main line: early, late, twice, revised, contradicting, withdrawn, alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from driftgauge.agent.core.state import State
from driftgauge.models.events import Label, Pause, Rejected, Tick
from driftgauge.models.labels import LabelUse, Policy
from driftgauge.models.outputs import Estimate
from tests.copying import replace
from tests.pipeline.stepping import SETTINGS, T0, Agent, label, rejected, response, responses


def test_a_label_may_come_before_its_response() -> None:
    agent = Agent()
    agent.take(response(0, T0), label("l", 1, 1.0))
    assert agent.state.n_pending == 1
    agent.take(response(1, T0 + 1))
    assert agent.row("r1").correct == 1.0
    assert agent.state.n_pending == 0
    assert agent.state.counters["labels_joined"] == 1


def test_a_label_long_after_its_window_closed_gives_that_window_a_new_revision() -> None:
    agent = Agent()
    agent.take(*responses(), Tick(T0 + 60), Tick(T0 + 6_000))
    before = agent.window(T0 + 60)
    assert before.n_labels == 0
    said = agent.take(label("l", 0, 1.0, at=T0 + 6_010), Tick(T0 + 6_060))
    after = agent.window(T0 + 60)
    assert (after.key, after.revision, after.n_labels) == (before.key, before.revision + 1, 1)
    assert {e.window_end for e in said if isinstance(e, Estimate) and e.n_labels} == {T0 + 60, T0 + 120}


def test_what_waits_for_a_boundary_is_said_when_nothing_else_comes() -> None:
    agent = Agent()
    agent.take(*responses(), Tick(T0 + 60), Tick(T0 + 6_000))
    late = agent.take(label("l", 0, 1.0, at=T0 + 6_010))
    assert not any(isinstance(output, Estimate) for output in late)
    said = agent.take(Pause())
    assert {e.window_end for e in said if isinstance(e, Estimate) and e.n_labels} == {T0 + 60, T0 + 120}
    assert not agent.state.has_news


def test_a_pause_moves_no_time_and_its_estimate_is_revised_at_the_boundary() -> None:
    agent = Agent()
    agent.take(*responses())
    early = [e for e in agent.take(Pause()) if isinstance(e, Estimate)]
    agent.take(response(9, T0 + 50), Tick(T0 + 60))
    assert [(e.window_end, e.revision, e.n_events) for e in early] == [(T0 + 60, 1, 4)]
    assert (agent.window(T0 + 60).revision, agent.window(T0 + 60).n_events) == (2, 5)
    assert agent.state.counters["late_responses"] == 0


@pytest.mark.parametrize(("ahead_s", "reasons"), [(3_600.0, []), (3_601.0, ["event_time_ahead"])])
def test_a_label_dated_far_ahead_of_its_record_becomes_a_dead_letter(ahead_s: float, reasons: list[str]) -> None:
    agent, ahead = Agent(), replace(label("l", 0, 1.0, at=T0 + 30 + ahead_s), broker_time=T0 + 30)
    assert rejected(agent.take(*responses(), ahead, label("m", 0, 0.0))) == reasons
    assert agent.row("r0").correct == float(not reasons)


def test_a_label_that_comes_twice_counts_once() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 0, 1.0), label("l", 0, 1.0), label("l", 0, 1.0))
    assert agent.row("r0").correct == 1.0
    assert agent.state.counters["duplicate_labels"] == 2
    context = next(iter(agent.state.contexts.values()))
    assert context.committee.n_labels == 1


def test_a_revision_takes_the_place_of_what_it_supersedes_also_in_the_past() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 0, 1.0), Tick(T0 + 60), Tick(T0 + 6_000))
    assert agent.window(T0 + 60).accuracy_labelled == 1.0
    agent.take(label("m", 0, 0.0, at=T0 + 10, supersedes="l"), Tick(T0 + 6_060))
    assert agent.row("r0").correct == 0.0
    assert agent.window(T0 + 60).accuracy_labelled == 0.0
    assert agent.state.counters["labels_revised"] == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1), (2, 0, 1, 0, 2)])
@pytest.mark.parametrize("is_early", [False, True])
def test_of_labels_with_one_id_the_newest_counts_in_whatever_order_they_come(
    order: tuple[int, ...], is_early: bool
) -> None:
    agent = Agent()
    came = [label("l", 0, 1.0, at=T0 + 10), label("l", 0, 1.0, at=T0 + 20), label("l", 0, 0.0, at=T0 + 30)]
    events = [came[n] for n in order]
    agent.take(*(events if is_early else ()), *responses(), *(() if is_early else events), Tick(T0 + 121))
    assert agent.row("r0").correct == 0.0
    assert (agent.window(T0 + 60).n_labels, agent.window(T0 + 60).accuracy_labelled) == (1, 0.0)
    assert agent.state.n_pending == 0
    assert agent.stored_labels("r0") == [came[2]]


def test_a_corrected_label_that_waits_expires_once_and_as_it_was_corrected() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 99, 1.0), label("l", 99, 0.0, at=T0 + 40), label("m", 99, 1.0, at=T0 + 50))
    assert agent.state.n_pending == 2
    said = agent.take(Tick(T0 + 1_000), Tick(T0 + 2_000))
    expired = [output.event for output in said if isinstance(output, Rejected)]
    assert expired == [label("l", 99, 0.0, at=T0 + 40), label("m", 99, 1.0, at=T0 + 50)]
    assert agent.state.n_pending == 0


def test_a_correction_is_taken_when_no_more_labels_may_wait() -> None:
    agent = Agent()
    said = agent.take(*responses(), *(label(f"l{i}", 90 + i, 1.0) for i in range(3)), label("l1", 91, 0.0, at=T0 + 40))
    assert rejected(said) == []
    assert agent.state.n_pending == 3


@pytest.mark.parametrize("comes_first", [True, False])
def test_of_two_values_of_one_label_and_time_the_lower_counts_and_the_other_is_a_dead_letter(comes_first: bool) -> None:
    one, other = label("l", 0, 1.0), label("l", 0, 0.0)
    for order in ((one, other), (other, one)):
        agent = Agent()
        outputs = agent.take(*order, *responses()) if comes_first else agent.take(*responses(), *order)
        assert agent.row("r0").correct == 0.0
        assert [(o.reason, o.event) for o in outputs if isinstance(o, Rejected)] == [("label_conflict", one)]


def test_a_contradiction_under_an_alias_is_a_dead_letter_too() -> None:
    agent, named = Agent(), replace(response(0, T0), aliases=("request-0",))
    by_id = label("l", 0, 1.0)
    said = agent.take(by_id, replace(by_id, response_id="request-0", correct=0.0), named)
    assert agent.row("r0").correct == 0.0
    assert rejected(said) == ["label_conflict"]


def test_an_event_of_one_label_time_and_value_that_only_says_more_is_no_contradiction() -> None:
    agent = Agent()
    assert rejected(agent.take(*responses(), label("l", 0, 1.0), replace(label("l", 0, 1.0), source="test"))) == []


def test_a_label_that_names_itself_as_superseded_corrects_itself() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 0, 1.0), label("l", 0, 0.0, at=T0 + 40, supersedes="l"))
    assert agent.row("r0").correct == 0.0


def test_a_revision_may_come_before_what_it_supersedes() -> None:
    agent = Agent()
    agent.take(*responses(), label("m", 0, 0.0, supersedes="l"), label("l", 0, 1.0, at=T0 + 40))
    assert agent.row("r0").correct == 0.0
    assert agent.state.counters["labels_without_effect"] == 1


@pytest.mark.parametrize(("policy", "truth"), [("latest", 0.0), ("majority", 1.0), ("mean", 0.6), ("rank", 0.8)])
def test_annotators_who_disagree_are_settled_by_the_policy(policy: Policy, truth: float) -> None:
    agent = Agent(replace(SETTINGS, label_policy=policy))
    agent.take(
        *responses(),
        label("a", 0, 1.0, at=T0 + 10, by="ann"),
        label("b", 0, 0.8, at=T0 + 20, kind="code", by="unit tests"),
        label("c", 0, 0.0, at=T0 + 30, kind="model", by="judge"),
    )
    assert agent.row("r0").correct == pytest.approx(truth)


def test_a_soft_score_counts_as_what_it_is() -> None:
    agent = Agent()
    agent.take(*responses(), label("a", 0, 0.7, kind="model"), label("b", 1, 0.2, kind="model"), Tick(T0 + 60))
    assert agent.take(Tick(T0 + 121)) is not None
    assert agent.window(T0 + 60).accuracy_labelled == pytest.approx(0.45)


def test_a_withdrawn_label_leaves_its_response_without_one() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 0, 1.0), label("w", 0, None, supersedes="l"), Tick(T0 + 60), Tick(T0 + 121))
    assert np.isnan(agent.row("r0").correct)
    assert agent.row("r0").label_kind == "withdrawn"
    assert agent.window(T0 + 60).n_labels == 0


def test_a_label_whose_response_never_comes_waits_and_then_becomes_a_dead_letter() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 99, 1.0))
    assert rejected(agent.take(Tick(T0 + 480))) == []
    assert agent.state.n_pending == 1
    assert rejected(agent.take(Tick(T0 + 540))) == ["unmatched_label"]
    assert agent.state.n_pending == 0
    assert agent.state.counters["rejected_unmatched_label"] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("R1", "in upper or lower case"),
        (" r1 ", "without the white space"),
        ("r1#1", "another number of the choice"),
        ("tenant", "several responses have this name"),
        ("elsewhere", "no response with an id like this"),
    ],
)
def test_the_dead_letter_of_a_label_that_met_nothing_tells_the_likeliest_cause(name: str, reason: str) -> None:
    agent = Agent()
    shared = [replace(response(i, T0), aliases=("tenant",)) for i in range(3)]
    said = agent.take(*shared, Label("l", name, T0 + 5, 1.0), Tick(T0 + 1_000), Tick(T0 + 2_000))
    (letter,) = [output for output in said if isinstance(output, Rejected)]
    assert reason in letter.detail


def test_since_when_labels_wait_is_known_at_boundaries_and_after_a_restart() -> None:
    agent = Agent()
    agent.take(*responses(), label("l", 90, 1.0, at=T0 + 40), label("m", 91, 1.0, at=T0 + 20))
    assert agent.state.oldest_pending == T0 + 20
    agent.restart()
    assert agent.state.oldest_pending == T0 + 20
    agent.take(response(91, T0 + 10), Tick(T0 + 130))
    assert agent.state.oldest_pending == T0 + 40
    agent.take(response(90, T0 + 10), Tick(T0 + 200))
    assert agent.state.oldest_pending is None


def test_labels_beyond_those_that_may_wait_become_dead_letters() -> None:
    agent = Agent()
    said = agent.take(*responses(), *(label(f"l{i}", 90 + i, 1.0) for i in range(5)))
    assert rejected(said) == ["too_many_pending_labels"] * 2
    assert agent.state.n_pending == 3


def test_how_long_labels_take_is_measured_from_response_to_label_in_event_time() -> None:
    agent = Agent()
    agent.take(*responses(2), label("a", 0, 1.0, at=T0 + 30), label("b", 0, 0.0, at=T0 + 5_000))
    agent.take(label("a", 0, 1.0, at=T0 + 30), label("early", 2, 1.0, at=T0 - 9), response(2, T0 + 2))
    delays = agent.state.label_delays
    assert dict(delays.cumulative())[1.0] == 1
    assert dict(delays.cumulative())[60.0] == 2
    assert dict(delays.cumulative())[float("inf")] == 3
    assert delays.total_s == pytest.approx(30 + 5_000)
    with agent.store.transaction() as transaction:
        assert State.resume(SETTINGS, transaction).label_delays == delays


def test_how_likely_a_label_was_weighs_it_in_learning_and_in_estimates() -> None:
    agent = Agent()
    agent.take(*responses(), label("a", 0, 1.0, probability=0.1), label("b", 1, 0.0, probability=0.5), Tick(T0 + 60))
    agent.take(Tick(T0 + 121))
    assert (agent.row("r0").weight, agent.row("r0").label_kind) == (10.0, "designed")
    assert agent.window(T0 + 60).accuracy_labelled == pytest.approx(10 / 12)
    context = next(iter(agent.state.contexts.values()))
    assert context.committee.online.weights_seen == pytest.approx(12.0)


@pytest.mark.parametrize("count", [True, False])
def test_a_label_that_nobody_knows_the_chance_of_teaches_and_counts_if_the_settings_say_so(count: bool) -> None:
    agent = Agent(replace(SETTINGS, label_use=LabelUse(unknown="count" if count else "teach")))
    agent.take(*responses(), label("a", 0, 1.0), Tick(T0 + 60), Tick(T0 + 121))
    assert agent.row("r0").label_kind == "unknown"
    assert agent.window(T0 + 60).n_labels == int(count)
    context = next(iter(agent.state.contexts.values()))
    assert context.committee.n_labels == 1


def test_thumbs_teach_the_classifier_and_count_in_no_estimate() -> None:
    agent = Agent()
    agent.take(*responses(), label("a", 0, 0.0, source="thumbs"), Tick(T0 + 60), Tick(T0 + 121))
    assert agent.window(T0 + 60).n_labels == 0
    context = next(iter(agent.state.contexts.values()))
    assert context.committee.n_labels == 1


def test_a_drawn_label_counts_whether_thumbs_came_before_or_after_it() -> None:
    drawn, thumbs = label("a", 0, 1.0, probability=0.1), label("b", 0, 0.0, at=T0 + 31, source="thumbs")
    for labels in ([drawn, thumbs], [thumbs, drawn]):
        agent = Agent()
        agent.take(*responses(), *labels)
        assert (agent.row("r0").correct, agent.row("r0").weight) == (1.0, 10.0)
        (domain,) = agent.state.domains.values()
        assert domain.watch.n_labels == 1


def test_learning_later_how_likely_a_label_was_changes_its_kind() -> None:
    agent = Agent()
    agent.take(*responses(), label("a", 0, 1.0), label("b", 0, 1.0, at=T0 + 40, supersedes="a", probability=1.0))
    assert agent.row("r0").label_kind == "designed"


@pytest.mark.parametrize("n_disagreeing", [0, 5])
def test_annotators_who_disagree_widen_the_interval_also_after_a_restart(n_disagreeing: int) -> None:
    agent = Agent(replace(SETTINGS, committee=replace(SETTINGS.committee, gate_auroc=0.0)))
    agent.take(*responses(58), *(label(f"a{i}", i, float(i % 2), by="ann") for i in range(58)))
    for i in range(20):
        correct = float(i % 2) if i >= n_disagreeing else 1.0 - i % 2
        agent.take(label(f"b{i}", i, correct, by="bob", at=T0 + 29))
    agent.restart()
    agent.take(Tick(T0 + 60), Tick(T0 + 121))
    found = agent.window(T0 + 60)
    assert found.status == "ok"
    if n_disagreeing == 0:
        assert "annotators" not in found.interval_parts
        return
    error = (1 - math.sqrt(1 - 2 * 5 / 20)) / 2
    assert found.interval_parts["annotators"] == pytest.approx(error / math.sqrt(3))
    assert found.accuracy is not None
    assert found.ci_high is not None
    assert found.ci_high - found.accuracy > 1.644 * error / math.sqrt(3)
