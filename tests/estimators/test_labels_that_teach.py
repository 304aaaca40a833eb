"""Labels that only teach the classifier (thumbs, judges) are no part of any estimate, however many there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from driftgauge.models.estimate.default_estimator import estimator_of
from driftgauge.models.estimate.estimators import AccuracyEstimate, Sample
from driftgauge.models.estimate.fold_fits import MAX_ROWS, FoldFits, thinned
from tests.statistics.worlds import covariate, sample

NAMES = ("art", "law", "med")


def labelled(seed: int, n_drawn: int) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Domains with drawn labels, and the same with a thumb down on every other response that is wrong."""
    rng = np.random.default_rng(seed)
    drawn, with_thumbs = dict[str, Sample](), dict[str, Sample]()
    for name in NAMES:
        rows = sample(covariate(rng), rng, name, is_labelled=True)
        weight = np.where(np.arange(len(rows)) < n_drawn, 1.0, 0.0)
        drawn[name] = rows.at(np.flatnonzero(weight))
        with_thumbs[name] = replace(rows, weight=weight).at(np.flatnonzero((weight > 0) | (rows.correct == 0)))
    return {name: rows for name, rows in drawn.items() if len(rows)}, with_thumbs


def estimate(training: dict[str, Sample]) -> AccuracyEstimate:
    """Of a new domain without labels, whose predictions are there."""
    rng = np.random.default_rng(1)
    new = sample(covariate(rng), rng, "new")
    estimator = estimator_of(FoldFits(thinned(training), "logistic_regression", 0))
    return estimator.estimate(replace(new, p_correct=np.full(len(new), 0.2)))


def test_an_estimate_is_the_same_with_and_without_labels_that_only_teach() -> None:
    for seed in range(3):
        drawn, with_thumbs = labelled(seed, n_drawn=60)
        assert sum(map(len, with_thumbs.values())) > sum(map(len, drawn.values()))
        assert estimate(with_thumbs) == estimate(drawn)


def test_labels_that_only_teach_do_teach_the_predictions() -> None:
    drawn, with_thumbs = labelled(0, n_drawn=60)
    features = drawn["law"].features
    before, after = (FoldFits(rows, "logistic_regression", 0).predict(features).mean() for rows in (drawn, with_thumbs))
    assert after < before - 0.05, "thumbs down alone lower the predictions"


def test_without_enough_labels_that_count_there_is_no_estimate() -> None:
    for n_drawn in (0, 5, 9):
        found = estimate(labelled(0, n_drawn)[1])
        assert (found.status, found.accuracy) == ("insufficient_data", None)
        assert found.status_reason is not None
        assert found.status_reason.startswith("no prediction from labels that count yet, and 0 such labels")


def test_labels_that_count_are_not_crowded_out_of_a_fit() -> None:
    n = 3 * MAX_ROWS
    weight = np.zeros(n)
    weight[::100] = 1.0
    rows = Sample(np.zeros((n, 17), np.float32), np.full(n, np.nan), np.tile([0.0, 1.0], n // 2), weight)
    kept = thinned({"law": rows})["law"]
    assert len(kept) == MAX_ROWS
    assert kept.weight.sum() == weight.sum()
