"""Four ways in which a new domain can differ, simulated: the default is near the best of its candidates in each.

Responses have a difficulty; what is seen of it is noisy. Labelled domains differ from each other as the new ones do.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.signals.features import FEATURES

Domain = tuple[Float64s, Float64s]  # what the features show of every response, and whether it is right

N_ROWS, LABELLED, NEW = 150, 6, 12
_RIGHT_AT = 1.0


def covariate(rng: np.random.Generator) -> Domain:
    """More or fewer hard responses, and the features show it."""
    seen = rng.normal(rng.normal(0, 1), 1, N_ROWS)
    return seen, (rng.random(N_ROWS) < expit(_RIGHT_AT + 1.5 * seen)).astype(float)


def noisy_features(rng: np.random.Generator) -> Domain:
    """More or fewer hard responses, seen through noise."""
    quality = rng.normal(rng.normal(0, 1), 1, N_ROWS)
    return quality + rng.normal(0, 0.8, N_ROWS), (rng.random(N_ROWS) < expit(_RIGHT_AT + 3 * quality)).astype(float)


def label_shift(rng: np.random.Generator) -> Domain:
    """More or fewer right responses; right ones look like right ones elsewhere."""
    right = (rng.random(N_ROWS) < expit(rng.normal(0, 1.2))).astype(float)
    return rng.normal(2 * right - 1, 1), right


def style(rng: np.random.Generator) -> Domain:
    """Another wording: features move, correctness does not."""
    seen, right = covariate(rng)
    return seen + rng.normal(0, 0.7), right


def sample(domain: Domain, rng: np.random.Generator, name: str = "", *, is_labelled: bool = False) -> Sample:
    seen, right = domain
    features = np.full((N_ROWS, len(FEATURES)), np.nan, dtype=np.float32)
    for column in ("entropy_mean", "entropy_max", "nll_mean", "nll_max", "nll_sum"):
        features[:, FEATURES.index(column)] = np.exp(-seen + rng.normal(0, 0.2, N_ROWS))
    correct = right if is_labelled else np.full(N_ROWS, np.nan)
    return Sample(features, np.full(N_ROWS, np.nan), correct, np.ones(N_ROWS), domain=name)


@pytest.mark.parametrize("draw", [covariate, noisy_features, label_shift, style])
def test_the_default_is_near_the_best_candidate_and_covers(draw: Callable[[np.random.Generator], Domain]) -> None:
    rng = np.random.default_rng(11)
    labelled = {f"d{i}": sample(draw(rng), rng, f"d{i}", is_labelled=True) for i in range(LABELLED)}
    estimator = fit_default(labelled, seed=0)
    new = [draw(rng) for _ in range(NEW)]
    truth = np.array([right.mean() for _, right in new])
    estimates = [estimator.estimate(sample(domain, rng)) for domain in new]
    errors = {
        name: float(np.abs(np.array([estimate.components[name] for estimate in estimates]) - truth).mean())
        for name in estimates[0].components
    }
    source = np.mean([s.correct.mean() for s in labelled.values()])
    error = np.abs(np.array([estimate.accuracy for estimate in estimates]) - truth).mean()
    assert error < 1.2 * min(errors.values()) + 0.01, errors
    assert error < 0.8 * np.abs(source - truth).mean()
    covered = [e.ci_low <= t <= e.ci_high for e, t in zip(estimates, truth, strict=True) if e.ci_low and e.ci_high]
    assert sum(covered) >= 8  # of 12: fewer has probability 0.004 at a coverage of 88 %


def test_a_domain_that_is_confidently_wrong_is_found_out_by_twenty_labels() -> None:
    rng = np.random.default_rng(5)
    labelled = {f"d{i}": sample(covariate(rng), rng, f"d{i}", is_labelled=True) for i in range(LABELLED)}
    estimator = fit_default(labelled, seed=0)
    sure = rng.normal(2, 0.5, N_ROWS)
    wrong = sample((sure, np.zeros(N_ROWS)), rng)
    before = estimator.estimate(wrong)
    wrong.correct[:20] = 0.0
    after = estimator.estimate(wrong)
    assert before.accuracy is not None
    assert after.accuracy is not None
    assert before.accuracy > 0.8
    assert after.accuracy < 0.1
