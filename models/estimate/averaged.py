"""The default estimator: a weighted average of candidates, corrected by the labels of the estimated domain.

A candidate weighs more, the better it estimates domains that its fit left out. The errors on those domains also give
the width of the interval. Assumes that the labelled domains differ from each other as new domains will differ from
them.
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

_ERROR_FLOOR = 0.08  # accuracy; smaller errors of candidates count as equal
_DISAGREEMENT_FLOOR = 0.02
_SPREAD_FLOOR = 0.3  # logits; candidates that agree may all be wrong
_PRIOR_SCALE, _PRIOR_DOMAINS = 1.4, 3.0  # shift over spread expected before any fold, and the domains it counts as


class Forests(Protocol):
    """Forests by the domains they were fitted on."""

    def outside(self, trained_on: Domains) -> Float64s:
        """Out-of-bag probabilities of the rows of these domains, in their order."""
        ...

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) probabilities for rows of a domain."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Candidates fitted on some domains."""

    trained_on: Domains
    candidates: Candidates


class Averaged:
    """Fitted by `fit_averaged`. A domain it was fitted on is estimated by the fold that left this domain out.

    Attributes
    ----------
    whole, folds : candidates fitted on all domains, and for each domain those fitted without it
    weights : of the candidates, sum 1
    prior : of the shift of a new domain, in units of `spread`
    residuals : (domains left out once,) truth minus estimate
    """

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
        self.prior = prior
        self.residuals = residuals

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
    folds : the domains of each fold, which are left out together; empty for a single domain, whose estimate then
        uses the prior weights
    dispersion : of the labels, see `ShiftPrior`
    """
    everything = tuple(labelled)
    whole = _fit_fold(labelled, forests, everything)
    by_domain: dict[str, Fold] = {}
    for left_out in folds:
        fold = _fit_fold(labelled, forests, tuple(d for d in everything if d not in left_out))
        by_domain |= dict.fromkeys(left_out, fold)
    values = [_values(labelled[domain], domain, fold, forests) for domain, fold in by_domain.items()]
    truth = np.array([labelled[domain].correct.mean() for domain in by_domain])
    disagreement = {name: whole.candidates.disagreement(name) for name in PRIOR_WEIGHTS}
    weights = judged_weights(values, truth, disagreement)
    estimates = np.array([average(found, weights) for found in values])
    counts = np.array([len(labelled[domain]) for domain in by_domain])
    spreads = np.array([spread(found, weights) for found in values])
    prior = shift_prior(estimates, spreads, truth, counts, dispersion)
    return Averaged(forests, whole, by_domain, weights, prior, truth - estimates)


def judged_weights(
    values: Sequence[Mapping[str, float]], truth: Float64s, disagreement: Mapping[str, float]
) -> dict[str, float]:
    """Weights of the candidates, from their values for D domains that were left out and the accuracies there.

    The weight is prior × (floor² + mean squared error)^(-D/2) × disagreement^-4. The second factor is the likelihood
    of D errors of unknown size. With few domains it says little; the third uses the many labelled rows to judge how
    well each thresholded score separates right from wrong.

    >>> values = [{"forest": 0.9, "surprisal": 0.7}] * 4
    >>> weights = judged_weights(values, np.full(4, 0.7), {"forest": 0.2, "surprisal": 0.2})
    >>> weights["surprisal"] > 5 * weights["forest"]
    True
    """
    weights = {}
    for name, prior in PRIOR_WEIGHTS.items():
        errors = [found[name] - true for found, true in zip(values, truth, strict=True) if name in found]
        mean_square = float(np.mean(np.square(errors))) if errors else 0.0
        likelihood = (1 + mean_square / _ERROR_FLOOR**2) ** (-len(values) / 2)
        weights[name] = prior * likelihood * (disagreement.get(name, 1.0) + _DISAGREEMENT_FLOOR) ** -4
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def average(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted mean of the candidates that have a value."""
    weight = np.array([weights[name] for name in values])
    return float(weight @ np.array(list(values.values())) / weight.sum())


def spread(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted standard deviation of the candidates on the logit scale, with a floor added in square."""
    weight, logits = np.array([weights[name] for name in values]), _logits(np.array(list(values.values())))
    variance = weight @ (logits - weight @ logits / weight.sum()) ** 2 / weight.sum()
    return float(np.hypot(np.sqrt(variance), _SPREAD_FLOOR))


def shift_prior(
    estimates: Float64s, spreads: Float64s, truth: Float64s, counts: Int64s, dispersion: float
) -> ShiftPrior:
    """Size of the errors on left-out domains, on the logit scale and in units of `spread`, without label noise."""
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
