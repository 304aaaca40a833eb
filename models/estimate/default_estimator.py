"""The estimator the product uses unless told otherwise: `Averaged`, fitted on the domains that have labels.

Owns what bounds the cost of a fit: rows a domain may bring, folds, trees. Same rows and same seed, same estimator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.averaged import Domains, fit_averaged
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample
from driftgauge.models.estimate.regression_forest import RegressionForest, fit_regression_forest

MAX_ROWS = 4_000
"""Labelled rows a fit looks at, shared evenly by the domains."""

MIN_ROWS = 10
"""Labelled rows a domain needs to be learned from."""

_MAX_FOLDS, _TREES = 4, 60
_ENOUGH = 30  # labelled rows over all domains before anything is learned from them


def fit_default(labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
    """The default estimator of a context, from the rows of its domains (those without a label are left out).

    Works with any number of domains; with too few labels it is `CorrectedMean`, which needs none.
    """
    share = max(MAX_ROWS // max(len(labelled), 1), MIN_ROWS)
    samples = {domain: _thinned(labelled[domain], share) for domain in sorted(labelled)}
    samples = {domain: sample for domain, sample in samples.items() if len(sample) >= MIN_ROWS}
    correct = np.concatenate([np.empty(0), *(sample.correct for sample in samples.values())])
    if len(correct) < _ENOUGH or correct.min() == correct.max():
        return CorrectedMean()
    forests = FittedForests(samples, seed)
    folds = [tuple(fold) for fold in _folds(list(samples), seed)] if len(samples) > 1 else []
    return fit_averaged(samples, forests, folds, label_dispersion(correct, forests.outside(tuple(samples))))


class FittedForests:
    """Forests fitted when first asked for, at most one for every fold and one on everything."""

    def __init__(self, samples: Mapping[str, Sample], seed: int) -> None:
        self.samples = samples
        self.seed = seed
        self.fitted: dict[Domains, RegressionForest] = {}

    def outside(self, trained_on: Domains) -> Float64s:
        """Out-of-bag probabilities of the rows of these domains, in their order."""
        return self._forest(trained_on).outside

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) for rows of any domain."""
        del domain
        return self._forest(trained_on).probabilities(features)

    def _forest(self, trained_on: Domains) -> RegressionForest:
        if trained_on not in self.fitted:
            rows = [self.samples[domain] for domain in trained_on]
            features, correct = np.concatenate([r.features for r in rows]), np.concatenate([r.correct for r in rows])
            self.fitted[trained_on] = fit_regression_forest(features, correct, self.seed, trees=_TREES)
        return self.fitted[trained_on]


def label_dispersion(correct: Float64s, p: Float64s) -> float:
    """Var(y - p) over the mean of p (1 - p): how much less graded labels scatter than labels that are 0 or 1.

    >>> round(label_dispersion(np.array([0.4, 0.6]), np.array([0.5, 0.5])), 3)
    0.04
    """
    if np.isin(correct, (0.0, 1.0)).all():
        return 1.0
    return float(np.clip(np.mean((correct - p) ** 2) / max(float(np.mean(p * (1 - p))), 1e-6), 0.02, 1.0))


def _thinned(sample: Sample, limit: int) -> Sample:
    """The labelled rows, or ``limit`` of them evenly over the window."""
    rows = np.flatnonzero(sample.is_labelled)
    if len(rows) > limit:
        rows = rows[np.linspace(0, len(rows) - 1, limit).astype(np.intp)]
    return Sample(
        features=sample.features[rows],
        p_correct=sample.p_correct[rows],
        correct=sample.correct[rows],
        weight=sample.weight[rows],
        domain=sample.domain,
    )


def _folds(domains: list[str], seed: int) -> list[list[str]]:
    """Domains dealt at random into a few folds."""
    order = np.random.default_rng(seed).permutation(len(domains))
    n_folds = min(len(domains), _MAX_FOLDS)
    return [sorted(domains[i] for i in order[fold::n_folds]) for fold in range(n_folds)]
