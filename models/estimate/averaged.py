"""The default estimator: candidates averaged by how well each estimates domains it has not seen, then own labels.

Owns the choice (leave-one-domain-out), the averaging, and the width that unseen domains deserve. Assumes that the
labelled domains differ from each other as new domains will differ from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import logit

from driftgauge.models.arrays import Float32s, Float64s, Int64s
from driftgauge.models.estimate.candidates import (
    ABOVE_FLOOR,
    PRIOR_WEIGHTS,
    Candidates,
    fit_candidates,
    surprisal_logits,
)
from driftgauge.models.estimate.estimators import AccuracyEstimate, Sample, summarized
from driftgauge.models.estimate.recalibration import ShiftPrior

Domains = tuple[str, ...]

_ERROR_FLOOR = 0.08  # accuracy: errors of a candidate that are told apart only from here on
_DISAGREEMENT_FLOOR = 0.02
_SPREAD_FLOOR = 0.3  # logits: candidates that agree may still be wrong together
_PRIOR_SCALE, _PRIOR_DOMAINS = 1.4, 3.0  # shifts over spreads before domains show them, and how firmly


class Forests(Protocol):
    """Forests by the domains they were fitted on: fitted when first asked for."""

    def outside(self, trained_on: Domains) -> Float64s:
        """Out-of-bag probabilities of the rows of these domains, in their order."""
        ...

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) for rows of a domain."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Candidates fitted on some domains."""

    trained_on: Domains
    candidates: Candidates


class Averaged:
    """Fitted by `fit_averaged`. A domain it was fitted on is estimated by the fold that left that domain out."""

    name = "averaged"
    reads_p_correct = False

    def __init__(
        self,
        forests: Forests,
        whole: Fold,
        folds: Mapping[str, Fold],
        weights: Mapping[str, float],
        prior: ShiftPrior,
        residuals: Float64s,
    ) -> None:
        self.forests = forests
        self.whole = whole
        self.folds = folds
        self.weights = weights
        self.prior = prior  # in units of `spread`
        self.residuals = residuals  # (domains left out once,) truth minus estimate

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, 1) the forest's probabilities."""
        fold = self.folds.get(domain, self.whole)
        return self.forests.probabilities(fold.trained_on, domain, features)[:, None].astype(np.float32)

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The weighted mean of the candidates, recalibrated by the labels of the sample."""
        if not len(sample):
            return summarized(sample, sample.p_correct, {}, self.name, self.prior, confidence_level)
        scores = self.row_scores(sample.features, sample.domain) if sample.scores is None else sample.scores
        forest, doubt = scores[:, 0].astype(np.float64), surprisal_logits(sample.features)
        candidates = self.folds.get(sample.domain, self.whole).candidates
        values = candidates.values(sample.features, forest, doubt)
        share = sum(self.weights.get(name, 0.0) for name in ABOVE_FLOOR)
        p = (1 - share) * forest + share * np.where(np.isnan(doubt), forest, candidates.surprisal.from_logits(doubt))
        prior = replace(self.prior, scale=self.prior.scale * spread(values, self.weights))
        return summarized(sample, p, values, self.name, prior, confidence_level, average(values, self.weights))


def fit_averaged(
    labelled: Mapping[str, Sample], forests: Forests, folds: Sequence[Domains], dispersion: float = 1.0
) -> Averaged:
    """Fit on domains that have labels (every row labelled).

    Parameters
    ----------
    folds : which domains are left out together; empty when there is a single domain: the prior weights then decide
    dispersion : of the labels, see `ShiftPrior`
    """
    everything = tuple(labelled)
    whole = _fit_fold(labelled, forests, everything)
    by_domain: dict[str, Fold] = {}
    for left_out in folds:
        fold = _fit_fold(labelled, forests, tuple(d for d in everything if d not in left_out))
        by_domain |= dict.fromkeys(left_out, fold)
    said = [_values(labelled[domain], domain, fold, forests) for domain, fold in by_domain.items()]
    truth = np.array([labelled[domain].correct.mean() for domain in by_domain])
    disagreement = {name: whole.candidates.disagreement(name) for name in PRIOR_WEIGHTS}
    weights = judged_weights(said, truth, disagreement)
    estimates = np.array([average(values, weights) for values in said])
    counts = np.array([len(labelled[domain]) for domain in by_domain])
    spreads = np.array([spread(values, weights) for values in said])
    prior = shift_prior(estimates, spreads, truth, counts, dispersion)
    return Averaged(forests, whole, by_domain, weights, prior, truth - estimates)


def judged_weights(
    said: Sequence[Mapping[str, float]], truth: Float64s, disagreement: Mapping[str, float]
) -> dict[str, float]:
    """Weights of the candidates, from what each said about D domains it had not seen and the accuracies there.

    Prior weight times (floor^2 + mean squared error)^(-D/2), the likelihood of D errors of unknown size, times
    disagreement^-4: with few domains, the many rows tell better which score is worth a threshold.

    >>> said = [{"forest": 0.9, "surprisal": 0.7}] * 4
    >>> weights = judged_weights(said, np.full(4, 0.7), {"forest": 0.2, "surprisal": 0.2})
    >>> weights["surprisal"] > 5 * weights["forest"]
    True
    """
    weights = {}
    for name, prior in PRIOR_WEIGHTS.items():
        errors = [values[name] - true for values, true in zip(said, truth, strict=True) if name in values]
        mean_square = float(np.mean(np.square(errors))) if errors else 0.0
        likelihood = (1 + mean_square / _ERROR_FLOOR**2) ** (-len(said) / 2)
        weights[name] = prior * likelihood * (disagreement.get(name, 1.0) + _DISAGREEMENT_FLOOR) ** -4
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def average(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted mean over the candidates that said something."""
    weight = np.array([weights[name] for name in values])
    return float(weight @ np.array(list(values.values())) / weight.sum())


def spread(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """How far apart the candidates are, as a weighted standard deviation of their logits, with a floor."""
    weight, logits = np.array([weights[name] for name in values]), _logits(np.array(list(values.values())))
    variance = weight @ (logits - weight @ logits / weight.sum()) ** 2 / weight.sum()
    return float(np.hypot(np.sqrt(variance), _SPREAD_FLOOR))


def shift_prior(
    estimates: Float64s, spreads: Float64s, truth: Float64s, counts: Int64s, dispersion: float
) -> ShiftPrior:
    """How far off, in units of `spread`, unseen domains are on the logit scale; noise of their truths taken out."""
    bounded = np.clip(truth, 0.5 / (counts + 1), 1 - 0.5 / (counts + 1))
    noise = dispersion / (counts * bounded * (1 - bounded))
    squares = np.maximum((logit(bounded) - _logits(estimates)) ** 2 - noise, 0.0) / spreads**2
    n = _PRIOR_DOMAINS + len(estimates)
    scale = float(np.sqrt((_PRIOR_DOMAINS * _PRIOR_SCALE**2 + squares.sum()) / n))
    return ShiftPrior(scale=scale, freedom=n, dispersion=dispersion)


def _logits(accuracy: Float64s) -> Float64s:
    return np.asarray(logit(np.clip(accuracy, 0.02, 0.98)))


def _fit_fold(labelled: Mapping[str, Sample], forests: Forests, trained_on: Domains) -> Fold:
    return Fold(trained_on, fit_candidates([labelled[domain] for domain in trained_on], forests.outside(trained_on)))


def _values(sample: Sample, domain: str, fold: Fold, forests: Forests) -> dict[str, float]:
    forest = forests.probabilities(fold.trained_on, domain, sample.features)
    return fold.candidates.values(sample.features, forest, surprisal_logits(sample.features))
