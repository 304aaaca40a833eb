"""Surprisal above the floor of a domain: how much less likely a response is than the likeliest ones of its domain.

A response is right if each of its steps is the intended one. That has a probability near exp(-S), where S sums the
surprisals that are due to doubt. The rest of the observed sum has other causes: free wording, random names, the
tokenizer. It is about equal for all responses of a domain, so it shows as a floor of the sums. Hence S = sum - floor,
which needs no label and no token, only a window of some fifty responses of the domain. Two numbers turn S into a
probability; one labelled domain is enough to learn them. Fails where wording is free (the floor then differs from
response to response) and for domains without a single sure response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from driftgauge.models.arrays import Float64s

FLOOR_QUANTILE = 0.05
_SMALLEST, _LARGEST = 0.002, 8.0  # nats; S is clipped here
_INTERCEPT_SD, _SLOPE_SD = 1.5, 0.5  # p = exp(-S) is intercept 0, slope 1
_STEPS = 30


def above_floor(total: npt.NDArray[np.floating], weight: Float64s | None = None) -> Float64s:
    """S of every response of one domain from its sums of surprisals, both (n,) in nats; NaN stays NaN.

    ``weight`` (n,) is that of the responses in the quantile that is the floor; None: all count alike.

    >>> import numpy as np
    >>> above_floor(np.array([7.0, 7.0, 7.5, 9.0])).round(2).tolist()
    [0.0, 0.0, 0.5, 2.0]
    """
    is_present = ~np.isnan(total)
    present = total[is_present]
    if not len(present):
        return np.full(len(total), np.nan)
    floor = _floor(present, None if weight is None else weight[is_present])
    return np.asarray(np.maximum(total.astype(np.float64) - floor, 0.0))


def _floor(present: npt.NDArray[np.floating], weight: Float64s | None) -> float:
    if weight is None or weight.min() == weight.max():
        place = int(FLOOR_QUANTILE * (len(present) - 1))
        return float(np.partition(present, place)[place])
    order = np.argsort(present)
    below = np.cumsum(weight[order]) - weight[order]
    return float(present[order[int(np.searchsorted(below, FLOOR_QUANTILE * below[-1], side="right")) - 1]])


def doubt_logit(s: Float64s) -> Float64s:
    """(n,) logit of exp(-S), from (n,) S in nats, which is clipped to [0.002, 8].

    >>> doubt_logit(np.array([0.5, 8.0])).round(2).tolist()
    [0.43, -8.0]
    """
    return np.asarray(-np.log(np.expm1(np.clip(s, _SMALLEST, _LARGEST))))


@dataclass(frozen=True, slots=True)
class SurprisalModel:
    """logit p(correct) = intercept + slope * logit exp(-S)."""

    intercept: float = 0.0
    slope: float = 1.0

    def from_logits(self, logits: Float64s) -> Float64s:
        """(n,) probabilities from `doubt_logit` of the responses of one domain; NaN stays NaN."""
        return np.asarray(expit(self.intercept + self.slope * logits))


def fit_surprisal(logits: Float64s, correct: Float64s, weight: Float64s) -> SurprisalModel:
    """The most probable intercept and slope, by Newton's method, under the priors N(0, 1.5²) and N(1, 0.5²).

    ``logits`` (n,) are `doubt_logit` of labelled responses, with the floor of each domain; rows that are NaN are left
    out. Without rows the result is the means of the priors.

    >>> s, right = np.tile([0.1, 2.0], 100), np.tile([1.0, 0.0], 100)
    >>> fit_surprisal(doubt_logit(s), right, np.ones(200)).from_logits(doubt_logit(s[:2])).round(2).tolist()
    [0.99, 0.01]
    """
    present = ~np.isnan(logits)
    x = np.column_stack([np.ones(present.sum()), logits[present]])
    y, w = correct[present], weight[present]
    centre, precision = np.array([0.0, 1.0]), np.array([_INTERCEPT_SD, _SLOPE_SD]) ** -2.0
    at = centre.copy()
    for _ in range(_STEPS):
        p = expit(x @ at)
        gradient = x.T @ (w * (y - p)) - precision * (at - centre)
        curvature = (x.T * (w * p * (1 - p))) @ x + np.diag(precision)
        step = np.clip(np.linalg.solve(curvature, gradient), -1, 1)
        at = at + step
        if np.abs(step).max() < 1e-6:
            break
    return SurprisalModel(float(at[0]), float(at[1]))
