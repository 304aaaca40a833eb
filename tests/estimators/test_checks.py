"""The checks that every estimator must pass, with each kind of classifier behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from driftgauge.models.classify.fits import KINDS
from driftgauge.models.estimate.averaged import MAX_VALIDATION, Averaged
from driftgauge.models.estimate.default_estimator import DEFAULT_KIND, fit_default
from driftgauge.models.estimate.estimators import AccuracyEstimate, CorrectedMean, Estimator, Sample

pytestmark = pytest.mark.xdist_group("checks")  # so that one worker makes the fixtures of this module, once

Labels: TypeAlias = Callable[[int], float]


def sample(n: int = 200, n_labels: int = 0, seed: int = 0, domain: str = "") -> Sample:
    """Responses that are right more often where the first features are small; the first ``n_labels`` have labels."""
    draw = np.random.default_rng(seed)
    features = draw.gamma(2.0, 1.0, (n, 17)).astype(np.float32)
    p = 1 / (1 + np.exp(features[:, 0] + features[:, 1] - 5.0))
    correct = (draw.random(n) < p).astype(np.float64)
    correct[n_labels:] = np.nan
    return frozen(Sample(features, p.astype(np.float64), correct, np.ones(n), domain=domain))


def frozen(made: Sample) -> Sample:
    """The same sample with arrays that raise when they are written to."""
    for column in (made.features, made.p_correct, made.correct, made.weight):
        column.setflags(write=False)
    return made


def labelled(made: Sample, values: list[float]) -> Sample:
    correct = np.full(len(made), np.nan)
    correct[: len(values)] = values
    return frozen(replace(made, correct=correct))


def at(made: Sample, rows: np.ndarray) -> Sample:
    return frozen(Sample(made.features[rows], made.p_correct[rows], made.correct[rows], made.weight[rows]))


def fitted(kind: str = DEFAULT_KIND, seed: int = 0) -> Estimator:
    """Fitted to three labelled domains."""
    return fit_default({f"d{i}": sample(60, 60, seed=10 + i) for i in range(3)}, seed=seed, kind=kind)


@pytest.fixture(scope="module", params=["corrected_mean", *KINDS])
def estimator(request: pytest.FixtureRequest) -> Estimator:
    made = CorrectedMean() if request.param == "corrected_mean" else fitted(request.param)
    assert made.name == ("corrected_mean" if request.param == "corrected_mean" else "averaged")
    return made


def numbers(estimate: AccuracyEstimate) -> tuple[float, float, float]:
    assert estimate.accuracy is not None
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    return estimate.ci_low, estimate.accuracy, estimate.ci_high


def width(estimate: AccuracyEstimate) -> float:
    low, _, high = numbers(estimate)
    return high - low


@pytest.mark.parametrize("values", [[], [0.0] * 15, [1.0] * 15, [0.0] * 200, [1.0] * 200, [0.3, 0.7] * 20, [1.0]])
def test_the_interval_contains_the_estimate_and_lies_within_0_and_1(estimator: Estimator, values: list[float]) -> None:
    low, middle, high = numbers(estimator.estimate(labelled(sample(), values)))
    assert 0 <= low <= middle <= high <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_interval_stays_wide_after_a_few_equal_labels(estimator: Estimator, value: float) -> None:
    assert width(estimator.estimate(labelled(sample(), [value] * 15))) > 0.02


def test_the_order_of_rows_does_not_change_the_estimate(estimator: Estimator) -> None:
    made = sample(n_labels=20)
    shuffled = at(made, np.random.default_rng(1).permutation(len(made)))
    assert numbers(estimator.estimate(shuffled)) == pytest.approx(numbers(estimator.estimate(made)), abs=1e-9)


def test_multiplying_all_weights_does_not_change_the_estimate(estimator: Estimator) -> None:
    made = sample(n_labels=40)
    weight = np.random.default_rng(2).uniform(1, 5, len(made))
    once, thrice = (estimator.estimate(frozen(replace(made, weight=w))) for w in (weight, 3 * weight))
    assert numbers(thrice) == pytest.approx(numbers(once), abs=1e-9)
    assert thrice.effective_sample_size == pytest.approx(once.effective_sample_size)
    assert once.effective_sample_size < 40


def test_where_every_response_is_labelled_the_estimate_is_their_mean(estimator: Estimator) -> None:
    made = sample(n_labels=200)
    estimate = estimator.estimate(made)
    assert numbers(estimate) == pytest.approx([made.correct.mean()] * 3, abs=1e-9)
    assert estimate.accuracy_labelled == pytest.approx(made.correct.mean())


def test_labels_narrow_the_interval(estimator: Estimator) -> None:
    widths = [width(estimator.estimate(labelled(sample(), [1.0, 0.0, 1.0, 1.0] * n))) for n in (0, 3, 12, 40)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 2


def test_missing_features_and_predictions_still_give_an_estimate(estimator: Estimator) -> None:
    made = sample(n_labels=20)
    features, p = made.features.copy(), made.p_correct.copy()
    features[:100, 10:] = np.nan
    features[50:150, 3] = np.nan
    p[:30] = np.nan
    low, _, high = numbers(estimator.estimate(frozen(replace(made, features=features, p_correct=p))))
    assert high - low < 1


def test_features_that_are_absent_everywhere_still_give_an_estimate(estimator: Estimator) -> None:
    made = sample(n_labels=20)
    features = made.features.copy()
    features[:, :11] = np.nan
    assert estimator.estimate(frozen(replace(made, features=features))).status == "ok"


@pytest.mark.parametrize(("n", "status"), [(0, "no_data"), (3, "insufficient_data")])
def test_too_few_responses_give_a_reason_and_no_number(estimator: Estimator, n: int, status: str) -> None:
    estimate = estimator.estimate(sample(n))
    assert (estimate.status, estimate.accuracy, estimate.ci_low, estimate.ci_high) == (status, None, None, None)
    assert estimate.status_reason


def test_an_estimate_has_its_name_counts_components_and_interval_parts(estimator: Estimator) -> None:
    estimate = estimator.estimate(sample(n_labels=20))
    assert (estimate.estimator, estimate.n_events, estimate.n_labels) == (estimator.name, 200, 20)
    assert all(0 <= value <= 1 for value in estimate.components.values())
    assert all(0 <= part < 1 for part in estimate.interval_parts.values())
    assert estimate.interval_parts
    values = estimate.components.values()
    assert estimate.spread == (max(values) - min(values) if len(values) > 1 else None)


def test_the_scores_of_a_row_do_not_depend_on_other_rows(estimator: Estimator) -> None:
    features = sample().features
    scores = estimator.row_scores(features)
    apart = [estimator.row_scores(part) for part in (features[:1], features[1:70], features[70:70], features[70:])]
    assert np.concatenate(apart).tobytes() == scores.tobytes()
    assert scores.dtype == np.float32


def test_kept_scores_give_the_same_estimate_as_computed_ones(estimator: Estimator) -> None:
    made = sample(n_labels=20)
    assert estimator.estimate(replace(made, scores=estimator.row_scores(made.features))) == estimator.estimate(made)


def test_predictions_change_the_estimate_only_if_reads_p_correct(estimator: Estimator) -> None:
    made = sample(n_labels=20)
    without = frozen(replace(made, p_correct=np.full(len(made), np.nan)))
    is_same = estimator.estimate(without) == estimator.estimate(made)
    assert is_same != estimator.reads_p_correct


def test_the_same_seed_gives_the_same_default_estimator_and_another_seed_another() -> None:
    made = sample(n_labels=5)
    first, again, other = (fitted(seed=seed).estimate(made) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_domain_of_the_fit_is_scored_by_a_fit_without_that_domain() -> None:
    made = fitted()
    features = sample(60, seed=10).features
    assert (made.row_scores(features, "d0") != made.row_scores(features)).any()


def test_without_labelled_domains_there_is_an_estimate_too() -> None:
    assert fit_default({}, seed=0).estimate(sample(n_labels=20)).status == "ok"


def test_a_bounded_number_of_domains_judges_the_candidates() -> None:
    labelled_domains = {f"d{i:03}": sample(10, 10, seed=i) for i in range(MAX_VALIDATION + 50)}
    made = fit_default(labelled_domains, seed=0)
    assert isinstance(made, Averaged)
    assert len(made.residuals) == MAX_VALIDATION
    assert made.folds.keys() == labelled_domains.keys()


def test_domains_with_few_labels_are_learned_from_and_left_out_like_others() -> None:
    many = {f"d{i}": sample(60, 60, seed=10 + i) for i in range(3)}
    few = {f"e{i}": sample(4, 4, seed=50 + i, domain=f"e{i}") for i in range(3)}
    with_few = fit_default(many | few, seed=0)
    features = sample(60, seed=1).features
    assert (with_few.row_scores(features) != fit_default(many, seed=0).row_scores(features)).any()
    assert (with_few.row_scores(features, "e0") != with_few.row_scores(features)).any()
