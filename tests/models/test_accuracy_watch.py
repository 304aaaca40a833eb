"""The sequential guarantees, on seeded labels: false alarms, delay, weights, and the life of an alarm."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import binom

from driftgauge.models.watch.accuracy_watch import AccuracyWatch, Turn
from driftgauge.models.watch.sequential import BelowTarget, ConfidenceSequence, budget

RUNS, ALPHA = 150, 0.2
MOST_FALSE_ALARMS = binom.ppf(0.999, RUNS, ALPHA)


def labels(accuracy: float, n: int, seed: int) -> list[float]:
    drawn: list[float] = (np.random.default_rng(seed).random(n) < accuracy).astype(float).tolist()
    return drawn


def turns(watch: AccuracyWatch, correct: list[float]) -> list[tuple[int, Turn]]:
    return [(i, turn) for i, label in enumerate(correct) if (turn := watch.update(label, 1.0, float(i)))]


@pytest.mark.parametrize("accuracy", [0.6, 0.95])
def test_a_healthy_domain_rarely_raises_an_alarm(accuracy: float) -> None:
    false = sum(any(map(BelowTarget(accuracy, ALPHA).update, labels(accuracy, 500, seed))) for seed in range(RUNS))
    assert false <= MOST_FALSE_ALARMS


def chosen(seed: int, n: int) -> list[tuple[float, float]]:
    """Labels with weights: hard responses (accuracy .5) all chosen, easy ones (.95) one in five; an easy one first."""
    rng = np.random.default_rng(seed)
    is_hard = rng.random(n) < 0.4
    is_hard[0] = False
    is_chosen = is_hard | (rng.random(n) < 0.2)
    is_chosen[0] = True
    correct = rng.random(n) < np.where(is_hard, 0.5, 0.95)
    return [(float(c), 1.0 if h else 5.0) for c, h in zip(correct[is_chosen], is_hard[is_chosen], strict=True)]


def test_weighted_labels_of_chosen_responses_test_the_accuracy_of_all_responses() -> None:
    target = 0.4 * 0.5 + 0.6 * 0.95
    weighted, unweighted = 0, 0
    for seed in range(RUNS):
        monitor, naive = BelowTarget(target, ALPHA), BelowTarget(target, ALPHA)
        drawn = chosen(seed, 600)
        weighted += any(monitor.update(*label) for label in drawn)
        unweighted += any(naive.update(correct) for correct, _ in drawn)
    assert weighted <= MOST_FALSE_ALARMS
    assert unweighted > RUNS / 2  # labelled responses are right less often than all responses


def rare_easy(seed: int, n: int) -> list[tuple[float, float]]:
    """Labels with weights: hard responses (accuracy .5) all chosen, easy ones (all right) one in a hundred."""
    rng = np.random.default_rng(seed)
    is_hard = rng.random(n) < 0.2 / (0.2 + 0.8 / 100)
    correct = ~is_hard | (rng.random(n) < 0.5)
    return [(float(c), 1.0 if h else 100.0) for c, h in zip(correct, is_hard, strict=True)]


def test_the_smallest_probability_of_the_plan_makes_the_promise_hold_from_the_first_label() -> None:
    known, unknown = 0, 0
    for seed in range(RUNS):
        promised, naive = BelowTarget(0.9, ALPHA, 1 / 100), BelowTarget(0.9, ALPHA)
        drawn = rare_easy(seed, 300)
        known += any(promised.update(*label) for label in drawn)
        unknown += any(naive.update(*label) for label in drawn)
    assert known <= MOST_FALSE_ALARMS
    assert unknown > RUNS / 2  # the first labels are all of hard responses


def test_a_label_heavier_than_the_plan_allows_counts_less_against_the_target_and_fully_for_it() -> None:
    def evidence(weight: float, correct: float) -> float:
        monitor = BelowTarget(0.9, ALPHA, 1 / 10)
        for _ in range(30):
            monitor.update(0.0, 1.0)
        monitor.update(correct, weight)
        return monitor.evidence

    assert evidence(50.0, 0.0) == evidence(10.0, 0.0)
    assert 0 <= evidence(50.0, 1.0) < evidence(10.0, 1.0)


@pytest.mark.parametrize(("healthy", "most"), [(0, 60), (500, 120)])
def test_a_fall_is_detected_soon_after_any_number_of_good_labels(healthy: int, most: int) -> None:
    delays = []
    for seed in range(20):
        found = turns(AccuracyWatch(0.9, 0.05), [*labels(0.95, healthy, seed), *labels(0.7, 400, seed + 1000)])
        delays.append(found[0][0] - healthy if found else np.inf)
    assert np.median(delays) < most


def test_an_alarm_is_raised_once_and_resolved_by_good_labels_and_raised_again_by_bad_ones() -> None:
    good, bad = [1.0] * 120, [0.0] * 30
    watch = AccuracyWatch(0.8)
    assert [turn for _, turn in turns(watch, [*good, *bad, *good, *bad])] == ["raised", "resolved", "raised"]
    assert watch.is_raised
    assert (watch.n_raised, watch.n_labels) == (2, 300)


def test_every_later_alarm_of_a_domain_needs_more_evidence() -> None:
    watch = AccuracyWatch(0.8)
    found = turns(watch, [*[0.0] * 20, *[1.0] * 200, *[0.0] * 40])
    first, resolved, second = (i for i, _ in found)
    assert resolved < 120
    assert second - 220 > first


def test_an_open_alarm_has_its_beginning_and_the_labels_since_then() -> None:
    watch = AccuracyWatch(0.9)
    turns(watch, [1.0] * 100)
    assert (watch.since, watch.n_since) == (None, 0)
    assert [turn for _, turn in turns(watch, [0.0] * 12)] == ["raised"]
    assert watch.since is not None
    assert watch.since <= 5.0
    assert (watch.n_since, watch.right_since) == (12 - watch.since, 0.0)


def test_a_restored_watch_continues_as_if_never_interrupted() -> None:
    before, after = labels(0.7, 60, 1), labels(0.7, 300, 2)
    straight, first = AccuracyWatch(0.8), AccuracyWatch(0.8)
    turns(straight, before)
    turns(first, before)
    saved = msgspec.msgpack.encode(first.snapshot())
    resumed = AccuracyWatch(0.8).restore(msgspec.msgpack.decode(saved))
    assert turns(resumed, after) == turns(straight, after) != []
    assert msgspec.msgpack.encode(resumed.snapshot()) == msgspec.msgpack.encode(straight.snapshot())
    assert resumed.interval == straight.interval


def test_a_snapshot_for_another_target_is_ignored() -> None:
    watch = AccuracyWatch(0.8)
    turns(watch, [0.0] * 40)
    other = AccuracyWatch(0.7).restore(watch.snapshot())
    assert (other.is_raised, other.n_labels) == (False, 0)


def test_targets_of_0_and_1_raise_alarms_only_for_wrong_labels() -> None:
    assert not turns(AccuracyWatch(0.0), [0.0] * 200)
    assert not turns(AccuracyWatch(1.0), [1.0] * 200)
    assert turns(AccuracyWatch(1.0), [0.0, 0.0])


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.98])
def test_a_confidence_sequence_holds_the_accuracy_after_every_label(accuracy: float) -> None:
    missed = 0
    for seed in range(60):
        sequence, is_missed = ConfidenceSequence(0.8), False
        for correct in labels(accuracy, 250, seed):
            sequence.update(correct)
            low, high = sequence.interval or (0.0, 1.0)
            is_missed |= not low <= accuracy <= high
        missed += is_missed
    assert missed <= binom.ppf(0.999, 60, 0.2)


def test_a_confidence_sequence_narrows_and_starts_again_after_a_change() -> None:
    sequence = ConfidenceSequence(0.9)
    assert sequence.interval is None
    widths: list[float] = []
    for correct in labels(0.9, 400, 0):
        sequence.update(correct)
        assert sequence.interval
        widths.append(sequence.interval[1] - sequence.interval[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.15
    for correct in labels(0.2, 400, 1):
        sequence.update(correct)
    assert sequence.interval
    assert sequence.interval[0] < 0.2 < sequence.interval[1] < 0.4


def test_the_false_alarm_budgets_of_all_domains_and_alarms_sum_to_at_most_the_whole() -> None:
    assert sum(budget(budget(0.05, rank), n) for rank in range(1, 200) for n in range(1, 200)) < 0.05
