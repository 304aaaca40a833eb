"""The guarantee of `driftgauge threshold`: how often an unsafe threshold is called safe, and a safe one is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.kept_accuracy import KeptAccuracy, kept_accuracies, labels_needed
from driftgauge.models.classify.risk_coverage import risk_coverage

RUNS, WANTED, CONFIDENCE = 250, 0.9, 0.9


def nearly_right(p: Float64s) -> Float64s:
    """Accuracy just below the wanted one at every p: no threshold is safe."""
    return np.full_like(p, WANTED - 1e-9)


def right_above(p: Float64s) -> Float64s:
    """Accuracy that rises with p; the thresholds above .6 are safe."""
    return np.clip(WANTED + (p - 0.8) * 0.5, 0, 1)


def drawn(
    rng: np.random.Generator, accuracy: Callable[[Float64s], Float64s], n: int, *, graded: bool, designed: bool
) -> tuple[Float64s, Float64s, Float64s]:
    """About n labelled responses; with a design, right ones are labelled twice as often."""
    p = rng.uniform(0.4, 1, 3 * n if designed else n)
    mean = accuracy(p)
    correct = rng.beta(2 * mean + 1e-9, 2 * (1 - mean) + 1e-9) if graded else (rng.random(len(p)) < mean).astype(float)
    if not designed:
        return p, correct, np.ones(len(p))
    inclusion = np.where(correct < 0.5, 0.3, 0.6) - 0.1 * (p > 0.8)
    chosen = rng.random(len(p)) < inclusion
    return p[chosen], correct[chosen], 1 / inclusion[chosen]


def lowest(tested: list[KeptAccuracy]) -> KeptAccuracy | None:
    return next((kept for kept in reversed(tested) if kept.is_safe), None)


@pytest.mark.parametrize("designed", [False, True])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("accuracy", [nearly_right, right_above])
def test_a_threshold_that_is_not_safe_is_given_in_at_most_the_promised_share_of_runs(
    accuracy: Callable[[Float64s], Float64s], graded: bool, designed: bool
) -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(RUNS):
        p, correct, weight = drawn(rng, accuracy, 400, graded=graded, designed=designed)
        found = lowest(
            kept_accuracies(p, correct, weight, WANTED, CONFIDENCE, largest_weight=5.0 if designed else None)
        )
        unsafe_below = 1.0 if accuracy is nearly_right else 0.5999
        wrong += found is not None and found.threshold < unsafe_below
    assert wrong <= binom.ppf(0.999, RUNS, 1 - CONFIDENCE)


@pytest.mark.parametrize(
    ("graded", "designed", "at_least"), [(False, False, 0.8), (True, False, 0.8), (True, True, 0.5)]
)
def test_a_safe_threshold_is_found_with_some_thousand_labels(graded: bool, designed: bool, at_least: float) -> None:
    rng = np.random.default_rng(6)
    found = [
        lowest(kept_accuracies(*drawn(rng, right_above, 1500, graded=graded, designed=designed), WANTED, CONFIDENCE))
        for _ in range(100)
    ]
    assert sum(kept is not None for kept in found) >= 100 * at_least


def test_the_order_of_the_labels_does_not_matter() -> None:
    p, correct, weight = drawn(np.random.default_rng(7), right_above, 400, graded=False, designed=True)
    one = kept_accuracies(p, correct, weight, WANTED, CONFIDENCE)
    other = kept_accuracies(p[::-1], correct[::-1], weight[::-1], WANTED, CONFIDENCE)
    assert [kept.is_safe for kept in one] == [kept.is_safe for kept in other]
    assert [kept.p_value for kept in one] == pytest.approx([kept.p_value for kept in other])


def test_weights_decide_where_wrong_responses_were_labelled_more_often() -> None:
    correct = np.repeat([1.0, 0.0], [900, 100])
    even = kept_accuracies(np.ones(1000), correct, np.ones(1000), 0.93, CONFIDENCE)
    weighted = kept_accuracies(np.ones(1000), correct, np.where(correct > 0, 10.0, 1.0), 0.93, CONFIDENCE)
    assert lowest(even) is None
    found = lowest(weighted)
    assert found is not None
    assert found.accuracy == pytest.approx(9000 / 9100)


def test_the_fewest_labels_that_can_be_enough_are_enough_when_all_are_right() -> None:
    n = labels_needed(WANTED, CONFIDENCE)
    enough, too_few = (kept_accuracies(np.ones(m), np.ones(m), np.ones(m), WANTED, CONFIDENCE) for m in (n, n - 1))
    assert lowest(enough) is not None
    assert lowest(too_few) is None


def test_without_labels_no_threshold_is_safe() -> None:
    tested = kept_accuracies(np.empty(0), np.empty(0), np.empty(0), WANTED, CONFIDENCE)
    assert lowest(tested) is None
    assert {(kept.n_labels, kept.accuracy, kept.p_value) for kept in tested} == {(0, None, 1.0)}


def test_the_area_of_the_risk_coverage_curve_is_the_mean_risk_over_all_orders_of_equal_predictions() -> None:
    rng = np.random.default_rng(8)
    p, correct = rng.integers(0, 4, 40) / 4, rng.random(40)
    areas = []
    for _ in range(4000):
        order = np.lexsort((rng.random(40), -p))
        areas.append(1 - np.mean(np.cumsum(correct[order]) / np.arange(1, 41)))
    assert risk_coverage(p, correct).area == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / np.sqrt(len(areas)))


def test_a_prediction_that_says_nothing_has_the_share_of_wrong_responses_as_its_area() -> None:
    correct = np.array([1.0, 0.0, 1.0, 1.0])
    curve = risk_coverage(np.full(4, 0.3), correct)
    assert curve.area == pytest.approx(0.25)
    assert curve.at(0.01) == curve.at(1.0) == pytest.approx(0.75)
    assert risk_coverage(correct, correct).area == pytest.approx(curve.best_area)
