"""Prequential metrics, calibration, evidence and the gate's AUROC against their definitions, and their error rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.calibration import Calibrator, DomainOffsets
from driftgauge.models.classify.prequential import Tally
from driftgauge.models.label_weights import LargestWeight
from driftgauge.models.learn.gate import auroc
from driftgauge.models.learn.promotion import Evidence

Column = Float64s


def judged(n: int, *, seed: int = 0, slope: float = 1.0, offset: float = 0.0) -> tuple[Column, Column, Column]:
    """n labelled predictions: labels follow a line on the logit scale, and uncertain responses are labelled more often.

    As with an acquisition list, the weights (1 / inclusion probability) therefore depend on the predictions.
    """
    rng = np.random.default_rng(seed)
    p = rng.beta(1.5, 1.0, 10 * n)
    inclusion = np.maximum(2 * np.sqrt(p * (1 - p)), 0.2)
    chosen = np.flatnonzero(rng.random(10 * n) < inclusion)[:n]
    p, inclusion = p[chosen], inclusion[chosen]
    truth = expit(slope * logit(p) + offset)
    return p, (rng.random(n) < truth).astype(float), 1 / inclusion


def tallied(p: Column, correct: Column, weight: Column) -> Tally:
    tally = Tally()
    for row in zip(p.tolist(), correct.tolist(), weight.tolist(), strict=True):
        tally.add(*row)
    return tally


def test_metrics_equal_those_of_scikit_learn() -> None:
    p, correct, weight = judged(3000)
    metric = tallied(p, correct, weight).metric("c", "d")
    assert (metric.classifier, metric.domain, metric.n) == ("c", "d", 3000)
    assert metric.log_loss == pytest.approx(log_loss(correct, p, sample_weight=weight))
    assert metric.brier == pytest.approx(brier_score_loss(correct, p, sample_weight=weight))
    assert metric.auroc == pytest.approx(roc_auc_score(correct, p, sample_weight=weight), abs=0.005)
    assert metric.gap == pytest.approx(np.average(p - correct, weights=weight))
    bins = np.minimum((p * 10).astype(int), 9)
    error = sum(abs((weight * (p - correct))[bins == b].sum()) for b in range(10)) / weight.sum()
    assert metric.calibration_error == pytest.approx(error)


def test_without_labels_every_metric_is_none() -> None:
    metric = Tally().metric("c", None)
    assert metric.n == 0
    assert metric.log_loss is metric.brier is metric.auroc is metric.calibration_error is None
    assert tallied(np.array([0.5]), np.ones(1), np.ones(1)).metric("c", None).auroc is None


def test_a_soft_label_counts_in_part_as_right_and_in_part_as_wrong() -> None:
    soft = tallied(np.array([0.7]), np.array([0.25]), np.array([4.0])).metric("c", None)
    hard = tallied(np.array([0.7, 0.7]), np.array([1.0, 0.0]), np.array([1.0, 3.0])).metric("c", None)
    assert soft.log_loss == pytest.approx(hard.log_loss)
    assert soft.gap == pytest.approx(hard.gap)
    assert soft.auroc == hard.auroc == 0.5


def test_a_certain_wrong_prediction_has_a_finite_loss() -> None:
    metric = tallied(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.ones(2)).metric("c", None)
    assert metric.log_loss == pytest.approx(-np.log(1e-6))
    assert metric.brier == 1.0


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, 60), seed=st.integers(0, 9))
def test_two_tallies_add_up_to_the_tally_of_all_and_survive_a_restart(cut: int, seed: int) -> None:
    columns = judged(60, seed=seed)
    first, second = (tallied(*(c[part] for c in columns)) for part in (slice(None, cut), slice(cut, None)))
    first.include(second)
    together, whole = first.metric("c", None), tallied(*columns).metric("c", None)
    assert together.n == whole.n
    assert together.log_loss == pytest.approx(whole.log_loss)
    assert together.auroc == pytest.approx(whole.auroc)
    assert Tally.restore(first.snapshot()).snapshot() == first.snapshot()


def true_calibration_error(slope: float, offset: float) -> float:
    p = np.random.default_rng(99).beta(1.5, 1.0, 200_000)
    gap, bins = expit(slope * logit(p) + offset) - p, np.minimum((p * 10).astype(int), 9)
    return float(sum(abs(gap[bins == b].sum()) for b in range(10)) / len(p))


@pytest.mark.parametrize("n", [20, 100, 500])
@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, 0.5)])
def test_the_interval_of_the_calibration_error_covers_the_true_one(n: int, slope: float, offset: float) -> None:
    truth, runs, covered = true_calibration_error(slope, offset), 200, 0
    for seed in range(runs):
        metric = tallied(*judged(n, seed=seed, slope=slope, offset=offset)).metric("c", None)
        assert metric.calibration_low is not None
        assert metric.calibration_high is not None
        covered += metric.calibration_low <= truth <= metric.calibration_high
    assert covered >= binom.ppf(1e-4, runs, 0.95)


@pytest.mark.parametrize(("slope", "offset"), [(0.4, 0.0), (1.0, -1.5), (1.5, 0.5)])
def test_calibration_finds_the_line_the_labels_follow(slope: float, offset: float) -> None:
    p, correct, weight = judged(4000, slope=slope, offset=offset)
    calibrator = Calibrator()
    for row in zip(p.tolist(), correct.tolist(), weight.tolist(), strict=True):
        calibrator.update(*row)
    assert calibrator.slope == pytest.approx(slope, abs=0.2)
    assert calibrator.offset == pytest.approx(offset, abs=0.2)
    assert calibrator.apply(p[:50]).tolist() == pytest.approx([calibrator.apply_one(value) for value in p[:50]])
    again = Calibrator()
    again.restore(calibrator.snapshot())
    assert again.apply(p).tobytes() == calibrator.apply(p).tobytes()


def test_calibration_forgets_old_labels() -> None:
    calibrator = Calibrator(memory_labels=200)
    for offset in (2.0, -2.0):
        p, correct, _ = judged(2000, offset=offset)
        for value, c in zip(p.tolist(), correct.tolist(), strict=True):
            calibrator.update(value, c)
    assert calibrator.offset == pytest.approx(-2.0, abs=0.5)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 1e9)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_labels_breaks_calibration(labels: list[tuple[float, float, float]]) -> None:
    calibrator, offsets = Calibrator(memory_labels=10), DomainOffsets(memory_labels=10)
    for p, correct, weight in labels:
        calibrator.update(p, correct, weight)
        offsets.update("d", p, correct, weight)
    some = np.array([0.0, 0.3, 1.0, np.nan])
    for applied in (calibrator.apply(some), offsets.apply(some, ["d"] * 4)):
        assert ((applied[:3] >= 0) & (applied[:3] <= 1)).all()
        assert np.isnan(applied[3])


def test_a_domain_offset_grows_with_its_labels() -> None:
    offsets = DomainOffsets(memory_labels=300)
    sizes = []
    for _ in range(200):
        offsets.update("hard", 0.8, 0.0)
        offsets.update("hard", 0.8, 1.0)
        sizes.append(offsets.apply(np.array([0.8]), ["hard"])[0])
    assert all(a > b for a, b in itertools.pairwise(sizes[:20]))
    assert sizes[2] > 0.7
    assert sizes[-1] == pytest.approx(0.5, abs=0.05)
    assert offsets.apply(np.array([0.8]), ["other"])[0] == pytest.approx(0.8)


ERROR = 0.01
N_ROUNDS = 300
ALLOWED = binom.ppf(0.9999, N_ROUNDS, ERROR)


def promoted(seed: int, gain: float, *, ratio: float = 1.0, heavy_gain: float = 0.0, known: bool = True) -> bool:
    """Whether a challenger whose mean advantage is ``gain`` is promoted in a round, with a check after every label.

    Half of the responses are labelled with probability 1 / ``ratio``, so their labels are rare and heavy. The
    advantage on those is higher by ``heavy_gain``, on the others lower by it: over all responses it is still ``gain``,
    but weights and differences depend on each other. ``known``: whether the smallest probability is known beforehand.
    """
    rng, evidence, n = np.random.default_rng(seed), Evidence(), 2_000
    largest = LargestWeight(1 / ratio if known else None)
    is_heavy = rng.random(n) < 1 / (1 + ratio)
    differences = np.clip(rng.normal(gain + np.where(is_heavy, heavy_gain, -heavy_gain), 0.25), -1, 1)
    weight = np.where(is_heavy, ratio, 1.0)
    for difference, w in zip(differences.tolist(), weight.tolist(), strict=True):
        before, scale = largest.value, largest.relative(w)
        evidence = Evidence() if largest.value > before else evidence
        evidence.add(difference, scale)
        if evidence.is_enough(ERROR, min_labels=200):
            return True
    return False


@pytest.mark.parametrize(
    ("ratio", "heavy_gain", "known"),
    [(1, 0, True), (10, -0.05, True), (10, 0.05, True), (50, -0.05, True), (10, -0.05, False), (50, -0.05, False)],
)
def test_a_challenger_that_is_no_better_is_promoted_as_rarely_as_promised_however_unequal_the_weights(
    ratio: float, heavy_gain: float, known: bool
) -> None:
    found = [promoted(seed, 0.0, ratio=ratio, heavy_gain=heavy_gain, known=known) for seed in range(N_ROUNDS)]
    assert sum(found) <= ALLOWED


@pytest.mark.parametrize(("ratio", "gain"), [(1.0, 0.04), (10.0, 0.08), (50.0, 0.15)])
def test_a_better_challenger_is_promoted_although_weights_are_unequal(ratio: float, gain: float) -> None:
    assert sum(promoted(seed, gain, ratio=ratio) for seed in range(40)) >= 36


def test_labels_heavier_than_the_plan_allows_prove_less_for_a_challenger_and_cost_it_fully() -> None:
    gained, allowed, lost = (Evidence() for _ in range(3))
    for evidence, scale, sign in ((gained, 3.0, 1), (allowed, 1.0, 1), (lost, 3.0, -1)):
        for _ in range(20):
            evidence.add(0.2)
        evidence.add(sign * 0.5, scale)
    assert gained.log_capital == allowed.log_capital
    assert lost.log_capital == -np.inf


def test_a_better_challenger_is_promoted_and_a_worse_one_is_not() -> None:
    assert sum(promoted(seed, 0.04) for seed in range(40)) >= 36
    assert sum(promoted(seed, -0.04) for seed in range(40)) == 0


def test_fewer_labels_than_the_minimum_promote_no_challenger() -> None:
    evidence = Evidence()
    for _ in range(29):
        evidence.add(1.0)
    assert evidence.log_capital > 3
    assert not evidence.is_enough(error=0.05, min_labels=30)


def test_the_auroc_of_the_gate_equals_scikit_learns_and_its_error_equals_the_spread_of_repeats() -> None:
    p, correct, _ = judged(400)
    assert auroc(p, correct)[0] == pytest.approx(roc_auc_score(correct, p))
    ties = np.round(p, 1)
    assert auroc(ties, correct)[0] == pytest.approx(roc_auc_score(correct, ties))
    assert auroc(np.full(400, 0.3), correct)[0] == 0.5
    many = np.array([auroc(*judged(400, seed=seed)[:2]) for seed in range(200)])
    assert many[:, 1].mean() == pytest.approx(many[:, 0].std(), rel=0.2)
