import numpy as np
import pytest

from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import AccuracyEstimate, CorrectedMean, Sample


def sample(p: float, n: int = 400, labels: list[float] | None = None) -> Sample:
    correct = np.full(n, np.nan)
    if labels:
        correct[: len(labels)] = labels
    return Sample(np.zeros((n, 17), np.float32), np.full(n, p), correct, np.ones(n))


def value(estimate: AccuracyEstimate) -> float:
    assert estimate.accuracy is not None
    return estimate.accuracy


def width(estimate: AccuracyEstimate) -> float:
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    return estimate.ci_high - estimate.ci_low


def test_without_labels_it_is_the_mean_probability() -> None:
    assert value(CorrectedMean().estimate(sample(0.7))) == pytest.approx(0.7, abs=0.01)


def test_labels_pull_the_estimate_towards_their_mean() -> None:
    few, many = (CorrectedMean().estimate(sample(0.9, labels=[0.0, 1.0] * n)) for n in (5, 50))
    assert 0.9 > value(few) > value(many)
    assert value(many) == pytest.approx(0.5, abs=0.03)


def test_labels_narrow_the_interval() -> None:
    widths = [width(CorrectedMean().estimate(sample(0.8, labels=[1.0, 1.0, 1.0, 1.0, 0.0] * n))) for n in (0, 2, 20)]
    assert widths[0] > widths[1] > widths[2]


def test_the_interval_reaches_below_one_after_twenty_right_labels() -> None:
    estimate = CorrectedMean().estimate(sample(0.9, labels=[1.0] * 20))
    assert estimate.ci_low is not None
    assert estimate.ci_low < 0.99


@pytest.mark.parametrize(("n", "status"), [(0, "no_data"), (3, "insufficient_data")])
def test_too_few_responses_give_a_status_with_a_reason(n: int, status: str) -> None:
    estimate = CorrectedMean().estimate(sample(0.9, n=n))
    assert (estimate.status, estimate.accuracy, estimate.ci_low) == (status, None, None)
    assert estimate.status_reason


def test_without_predictions_an_estimate_needs_ten_labels() -> None:
    assert CorrectedMean().estimate(sample(np.nan, labels=[1.0] * 9)).status == "insufficient_data"
    ten = CorrectedMean().estimate(sample(np.nan, labels=[1.0] * 5 + [0.0] * 5))
    assert value(ten) == pytest.approx(0.5, abs=0.02)


def test_the_default_estimator_needs_no_labelled_domain() -> None:
    assert fit_default({}, seed=0).estimate(sample(0.6)).status == "ok"
