"""Nominal 90 % intervals hold the truth about that often, over domains as far off as the prior says; all seeded."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from driftgauge.models.estimate.estimators import CorrectedMean, Sample
from driftgauge.models.estimate.recalibration import ShiftPrior

N_DOMAINS, N_EVENTS = 150, 300
PRIOR = ShiftPrior(scale=0.5, freedom=6)


def coverage(accuracy: float, n_labels: int, *, graded: bool = False, slope: float = 1.0) -> tuple[float, float]:
    """Share of domains whose interval holds their truth, and the mean width of the intervals."""
    rng = np.random.default_rng(7)
    dispersion = 0.3 if graded else 1.0
    estimator = CorrectedMean(ShiftPrior(PRIOR.scale, PRIOR.freedom, dispersion=dispersion))
    inside, widths = [], []
    for _ in range(N_DOMAINS):
        said = logit(accuracy) + rng.normal(0, 1.2, N_EVENTS)
        true = expit(slope * said + (1 - slope) * logit(accuracy) + rng.standard_t(PRIOR.freedom) * PRIOR.scale)
        right = (rng.random(N_EVENTS) < true).astype(float)
        if graded:  # a share 0.3 of the variance of a label that is 0 or 1
            right = true + np.sqrt(dispersion) * (right - true)
        labels = np.full(N_EVENTS, np.nan)
        labels[:n_labels] = right[:n_labels]
        sample = Sample(np.zeros((N_EVENTS, 17), np.float32), expit(said), labels, np.ones(N_EVENTS))
        estimate = estimator.estimate(sample)
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        inside.append(estimate.ci_low <= right.mean() <= estimate.ci_high)
        widths.append(estimate.ci_high - estimate.ci_low)
    return float(np.mean(inside)), float(np.mean(widths))


def tolerated(share: float) -> bool:
    """Whether a coverage between 88 and 94 % explains the share, with probability 0.001 of being wrong."""
    count = round(share * N_DOMAINS)
    return bool(binom.sf(count - 1, N_DOMAINS, 0.94) > 1e-3 and binom.cdf(count, N_DOMAINS, 0.88) > 1e-3)


@pytest.mark.parametrize("accuracy", [0.5, 0.93, 0.98])
@pytest.mark.parametrize("n_labels", [0, 5, 20, 50])
def test_intervals_hold_the_truth_as_often_as_they_say(accuracy: float, n_labels: int) -> None:
    share, _ = coverage(accuracy, n_labels)
    assert tolerated(share), share


@pytest.mark.parametrize("n_labels", [5, 50])
def test_so_do_those_of_graded_labels(n_labels: int) -> None:
    share, _ = coverage(0.7, n_labels, graded=True)
    assert tolerated(share), share


def test_so_do_those_of_a_signal_that_says_nothing_inside_the_domain() -> None:
    share, _ = coverage(0.7, 50, slope=0.0)
    assert tolerated(share), share


def test_labels_narrow_them() -> None:
    widths = [coverage(0.7, n)[1] for n in (0, 20, 50)]
    assert widths[0] > widths[1] > widths[2]
