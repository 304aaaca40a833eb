"""Fits the default estimator, `Averaged`, at a bounded cost.

Owns the bounds: rows of a domain, folds, trees. Deterministic: the same rows and seed give the same estimator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.averaged import Domains, fit_averaged
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample, label_dispersion
from driftgauge.models.estimate.regression_forest import RegressionForest, fit_regression_forest

MAX_ROWS = 4_000
"""Labelled rows that a fit uses at most, an equal share for each domain."""

MIN_ROWS = 10
"""Labelled rows that a domain needs; a domain with fewer is left out of the fit."""

_MAX_FOLDS, _TREES = 4, 60
_ENOUGH = 30  # labelled rows of all domains together that a fit needs


def fit_default(labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
    """Fit the default estimator of a context to the rows of its domains; rows without a label are left out.

    Any number of domains will do. With too few labels the result is `CorrectedMean`, which needs none.
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
    """Forests by the domains they are fitted on, each fitted when first used: one for every fold and one on all."""

    def __init__(self, samples: Mapping[str, Sample], seed: int) -> None:
        self.samples = samples
        self.seed = seed
        self.fitted: dict[Domains, RegressionForest] = {}
        self.by_row: dict[Domains, dict[bytes, float]] = {}

    def outside(self, trained_on: Domains) -> Float64s:
        """Out-of-bag probabilities of the rows of these domains, in their order."""
        return self._forest(trained_on).outside

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) probabilities for rows of any domain; out-of-bag ones for rows that the forest was fitted on."""
        p = self._forest(trained_on).probabilities(features)
        if domain in trained_on:
            outside = self._outside_by_row(trained_on)
            rows = np.ascontiguousarray(features)
            p = np.array([outside.get(row.tobytes(), known) for row, known in zip(rows, p.tolist(), strict=True)])
        return p

    def _outside_by_row(self, trained_on: Domains) -> dict[bytes, float]:
        if trained_on not in self.by_row:
            features = np.concatenate([self.samples[domain].features for domain in trained_on])
            outside = self.outside(trained_on).tolist()
            self.by_row[trained_on] = {row.tobytes(): p for row, p in zip(features, outside, strict=True)}
        return self.by_row[trained_on]

    def _forest(self, trained_on: Domains) -> RegressionForest:
        if trained_on not in self.fitted:
            rows = [self.samples[domain] for domain in trained_on]
            features, correct = np.concatenate([r.features for r in rows]), np.concatenate([r.correct for r in rows])
            self.fitted[trained_on] = fit_regression_forest(features, correct, self.seed, trees=_TREES)
        return self.fitted[trained_on]


def _thinned(sample: Sample, limit: int) -> Sample:
    """The labelled rows, or ``limit`` of them at even distances."""
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
    """Domains assigned to a few folds at random."""
    order = np.random.default_rng(seed).permutation(len(domains))
    n_folds = min(len(domains), _MAX_FOLDS)
    return [sorted(domains[i] for i in order[fold::n_folds]) for fold in range(n_folds)]
