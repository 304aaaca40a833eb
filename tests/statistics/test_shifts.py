"""The default estimator is near the best of its candidates under each of four kinds of shift."""

import numpy as np
import pytest

from driftgauge.models.estimate.default_estimator import fit_default
from tests.statistics.worlds import N_ROWS, Draw, covariate, label_shift, noisy_features, sample, style

LABELLED, NEW = 6, 12


@pytest.mark.parametrize("draw", [covariate, noisy_features, label_shift, style])
def test_the_default_estimator_is_near_its_best_candidate_and_its_intervals_cover_new_domains(draw: Draw) -> None:
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


def test_twenty_labels_reveal_a_domain_that_is_confidently_wrong() -> None:
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
