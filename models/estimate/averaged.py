"""The default estimator: a weighted average of candidates, corrected by the labels of the estimated domain.

A candidate weighs more, the better it estimates domains that its fit left out. These domains also give the width of the
interval (`shift_scale`). Assumes that the labelled domains differ from each other as new domains will differ from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.candidates import (
    ABOVE_FLOOR,
    PRIOR_WEIGHTS,
    Candidates,
    fit_candidates,
    surprisal_logits,
)
from driftgauge.models.estimate.dispersion import pooled_dispersion
from driftgauge.models.estimate.estimators import AccuracyEstimate, Sample, summarized
from driftgauge.models.estimate.fold_fits import MIN_ROWS, Domains
from driftgauge.models.estimate.recalibration import ShiftPrior
from driftgauge.models.estimate.shift_scale import FREEDOM, OWN_DOMAIN, LeftOut, learned_scale, spread

MAX_VALIDATION = 100
"""Left-out domains that validate the candidates; more would cost time and tell no more."""

_ERROR_FLOOR = 0.08  # accuracy; smaller errors of candidates count as equal
_DISAGREEMENT_FLOOR = 0.02


class Fits(Protocol):
    """Fits of one kind of classifier by the domains they were fitted on: `FoldFits`."""

    def outside(self, trained_on: Domains) -> Float64s:
        """(n,) out-of-bag probabilities of the rows of these domains, in their order."""
        ...

    def left_out(self, trained_on: Domains, domain: str) -> Float64s:
        """(n,) probabilities of the labelled rows of a domain that is not among these."""
        ...

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) probabilities for rows of a domain; out-of-bag ones for rows that the fit has seen."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Candidates fitted on some domains."""

    trained_on: Domains
    candidates: Candidates

    def values(
        self, features: Float32s, p: Float64s, weight: Float64s | None = None
    ) -> tuple[dict[str, float], Float64s]:
        """The accuracy of one window by each candidate, and (n,) probabilities above the floor of the window.

        ``p`` (n,) are the probabilities of the rows by the classifier; a row without surprisal keeps its one.
        ``weight`` (n,) is that of labels, where only the labelled rows of the window are known.
        """
        doubt = surprisal_logits(features, weight)
        above = np.where(np.isnan(doubt), p, self.candidates.surprisal.from_logits(doubt))
        return self.candidates.values(features, p, doubt, weight), above


class Averaged:
    """Fitted by `fit_averaged`. A domain it was fitted on is estimated by the fold that left this domain out.

    Attributes
    ----------
    whole, folds : candidates fitted on all domains, and for each domain those fitted without it
    weights : of the candidates, sum 1
    scale : of the shift of a new domain, in units of `spread`
    dispersion : of the labels, see `ShiftPrior`
    residuals : (domains left out once,) truth minus estimate
    """

    name = "averaged"
    reads_p_correct = False

    def __init__(
        self,
        fits: Fits,
        whole: Fold,
        folds: Mapping[str, Fold],
        weights: Mapping[str, float],
        scale: float,
        dispersion: float,
        residuals: Float64s,
    ) -> None:
        self.fits = fits
        self.whole = whole
        self.folds = folds
        self.weights = weights
        self.scale = scale
        self.dispersion = dispersion
        self.residuals = residuals

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, 1) the probabilities by the fit without the domain."""
        fold = self.folds.get(domain, self.whole)
        return self.fits.probabilities(fold.trained_on, domain, features)[:, None].astype(np.float32)

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The weighted mean of the candidates, recalibrated by the labels of the sample."""
        if not len(sample):
            return summarized(sample, sample.p_correct, {}, self.name, ShiftPrior(), confidence_level)
        scores = self.row_scores(sample.features, sample.domain) if sample.scores is None else sample.scores
        fold, of_fit = self.folds.get(sample.domain, self.whole), scores[:, 0].astype(np.float64)
        values, above = fold.values(sample.features, of_fit)
        p = mixed(of_fit, above, self.weights)
        scale = OWN_DOMAIN if sample.domain in fold.trained_on else self.scale
        prior = ShiftPrior(scale * spread(values, self.weights), FREEDOM, dispersion=self._dispersion(sample, p))
        return summarized(sample, p, values, self.name, prior, confidence_level, average(values, self.weights))

    def _dispersion(self, sample: Sample, p: Float64s) -> float:
        """That of the fit or, where it saw one domain only, that and the labels of the sample together."""
        if len(self.whole.trained_on) > 1:
            return self.dispersion
        return pooled_dispersion(self.dispersion, sample.correct[sample.is_labelled], p[sample.is_labelled])


def fit_averaged(
    labelled: Mapping[str, Sample], fits: Fits, folds: Sequence[Domains], dispersion: float = 1.0
) -> Averaged:
    """Fit on domains that have labels (every row labelled).

    Domains with few labels validate neither the candidates nor the width of intervals.

    Parameters
    ----------
    folds : the domains of each fold, which are left out together; empty for a single domain, whose estimate then
        uses the prior weights
    dispersion : of the labels, see `ShiftPrior`
    """
    everything = tuple(labelled)
    doubts = {domain: surprisal_logits(sample.features, sample.weight) for domain, sample in labelled.items()}
    whole = _fit_fold(labelled, fits, doubts, everything)
    by_domain: dict[str, Fold] = {}
    for left_out in folds:
        others = {*everything} - {*left_out}
        fold = _fit_fold(labelled, fits, doubts, tuple(d for d in everything if d in others))
        by_domain |= dict.fromkeys(left_out, fold)
    validation = _validation({domain: labelled[domain] for domain in by_domain})
    predicted = [fits.left_out(by_domain[d].trained_on, d) for d in validation]
    found = [
        by_domain[d].values(sample.features, p, sample.weight)
        for (d, sample), p in zip(validation.items(), predicted, strict=True)
    ]
    truth = np.array([np.average(sample.correct, weights=sample.weight) for sample in validation.values()])
    disagreement = {name: whole.candidates.disagreement(name) for name in PRIOR_WEIGHTS}
    weights = candidate_weights([values for values, _ in found], truth, disagreement)
    estimates = np.array([average(values, weights) for values, _ in found])
    left_out_domains = [
        LeftOut(sample, mixed(p, above, weights), float(level), spread(values, weights))
        for sample, p, (values, above), level in zip(validation.values(), predicted, found, estimates, strict=True)
    ]
    scale = learned_scale(left_out_domains, dispersion)
    return Averaged(fits, whole, by_domain, weights, scale, dispersion, truth - estimates)


def mixed(of_fit: Float64s, above: Float64s, weights: Mapping[str, float]) -> Float64s:
    """(n,) probabilities of the rows: those of the classifier and those above the floor, by weight.

    >>> mixed(np.array([0.9]), np.array([0.5]), {"forest": 0.75, "surprisal": 0.25}).tolist()
    [0.8]
    """
    share = sum(weights.get(name, 0.0) for name in ABOVE_FLOOR)
    return (1 - share) * of_fit + share * above


def candidate_weights(
    values: Sequence[Mapping[str, float]], truth: Float64s, disagreement: Mapping[str, float]
) -> dict[str, float]:
    """Weights of the candidates, from their values for D domains that were left out and the accuracies there.

    The weight is prior × (floor² + mean squared error)^(-D/2) × disagreement^-4. The second factor is the likelihood
    of D errors of unknown size. With few domains it says little; the third uses the many labelled rows to see how
    well each thresholded score separates right from wrong.

    >>> values = [{"forest": 0.9, "surprisal": 0.7}] * 4
    >>> weights = candidate_weights(values, np.full(4, 0.7), {"forest": 0.2, "surprisal": 0.2})
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
    """Weighted mean of the candidates that have a value.

    >>> average({"forest": 0.9}, {"forest": 0.5, "surprisal": 0.5})
    0.9
    """
    weight = np.array([weights[name] for name in values])
    return float(weight @ np.array(list(values.values())) / weight.sum())


def _validation(labelled: Mapping[str, Sample]) -> dict[str, Sample]:
    """The domains that validate candidates and width: `MAX_VALIDATION` of those with enough labels, evenly spaced."""
    names = [domain for domain, sample in labelled.items() if len(sample) >= MIN_ROWS]
    if len(names) > MAX_VALIDATION:
        names = [names[at] for at in np.linspace(0, len(names) - 1, MAX_VALIDATION).astype(np.intp)]
    return {name: labelled[name] for name in names}


def _fit_fold(labelled: Mapping[str, Sample], fits: Fits, doubts: Mapping[str, Float64s], trained_on: Domains) -> Fold:
    samples, doubt = [labelled[domain] for domain in trained_on], [doubts[domain] for domain in trained_on]
    return Fold(trained_on, fit_candidates(samples, fits.outside(trained_on), doubt))
