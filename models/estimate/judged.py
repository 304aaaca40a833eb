"""The accuracy by a judge, corrected by labels of people on the responses that both have labelled.

The verdicts of the judge are predictions, and prediction-powered inference corrects their mean (PPI++, see `ppi`): the
result is unbiased however wrong the judge is, if people label a random part. Its interval is for few labels: Student's
quantile, and a standard error for which one response is added to each of the four pairs of verdict and truth, so that a
judge who was never seen to be wrong is not taken to be perfect. Bonett and Price (2012, doi 10.3102/1076998611411915)
add one to each pair that differs; the other two are for judges who always say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.ppi import corrected_mean

MIN_OVERLAP = 20
"""Responses labelled by both, below which no corrected accuracy is given."""

FOLDS = 10

_PAIRS = np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])


@dataclass(frozen=True, slots=True)
class JudgedAccuracy:
    """What a judge says, and how far people agree.

    Attributes
    ----------
    n_judged : responses with a verdict
    by_judge : mean verdict, in [0, 1], as the judge gives it
    n_overlap : those with a label of a person or a program too
    agreement : share of them where both are on the same side of 0.5; None where there are none
    accuracy, ci_low, ci_high : the corrected accuracy and its interval; None where the overlap is too small
    """

    n_judged: int
    by_judge: float
    n_overlap: int
    agreement: float | None
    accuracy: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


def judged_accuracy(
    verdict: Float64s,
    verdict_weight: Float64s,
    truth: Float64s,
    truth_weight: Float64s,
    confidence_level: float = 0.9,
) -> JudgedAccuracy:
    """Correct the mean verdict on a domain.

    Parameters
    ----------
    verdict : (M,) in [0, 1], M >= 1
    verdict_weight : (M,) 1 / probability with which a response was drawn to be judged, up to a factor
    truth : (M,) labels of people or programs in [0, 1]; NaN = none
    truth_weight : (M,) 1 / probability with which a response was drawn for them, up to a factor. Both draws are taken
        to be independent

    Examples
    --------
    >>> truth = np.tile([1.0, 1.0, 0.0, 1.0], 50)
    >>> verdict = np.ones(200)  # a judge that finds everything right
    >>> labels = np.where(np.arange(200) < 40, truth, np.nan)
    >>> found = judged_accuracy(verdict, np.ones(200), labels, np.ones(200))
    >>> found.by_judge, found.agreement, round(found.accuracy, 2)
    (1.0, 0.75, 0.75)
    """
    both = ~np.isnan(truth)
    n = int(both.sum())
    same = (verdict >= 0.5)[both] == (truth >= 0.5)[both]
    by_judge = float(np.average(verdict, weights=verdict_weight))
    found = JudgedAccuracy(len(verdict), by_judge, n, float(same.mean()) if n else None)
    if n < MIN_OVERLAP:
        return found
    weight = truth_weight * verdict_weight
    middle, _ = corrected_mean(verdict, truth, weight, verdict_weight, folds=FOLDS)
    half = float(stdtrit(n - 1, (1 + confidence_level) / 2)) * _careful_error(verdict, verdict_weight, truth, weight)
    middle = float(np.clip(middle, 0, 1))
    return JudgedAccuracy(
        found.n_judged, by_judge, n, found.agreement, middle, max(middle - half, 0.0), min(middle + half, 1.0)
    )


def _careful_error(verdict: Float64s, verdict_weight: Float64s, truth: Float64s, weight: Float64s) -> float:
    """The standard error with a response more in each pair of verdict and truth."""
    both = ~np.isnan(truth)
    of_verdict, of_both = np.full(4, verdict_weight.mean()), np.full(4, weight[both].mean())
    _, error = corrected_mean(
        np.concatenate([verdict, _PAIRS[:, 0]]),
        np.concatenate([truth, _PAIRS[:, 1]]),
        np.concatenate([weight, of_both]),
        np.concatenate([verdict_weight, of_verdict]),
    )
    return error
