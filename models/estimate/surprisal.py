"""The surprisal that matters: how much less likely a response is than the most ordinary ones of its domain.

A response is right if every step of it is the intended one, which has a probability near exp(-S) with S the sum of the
surprisals that stand for doubt. Part of the observed sum stands for something else: free wording, random names, a
tokenizer's habits. That part is alike over a domain, and shows as the floor that even its surest responses do not
go below. So S = sum - floor, needs no label and no token, only a window of some fifty responses of the domain; the two
numbers that turn S into a probability are few enough to be learned from one labelled domain. Fails where wording is
free (the floor says nothing about the others) and for domains without a single sure response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from driftgauge.models.arrays import Float64s


FLOOR_QUANTILE = 0.05
_SMALLEST, _LARGEST = 0.002, 8.0  # nats; beyond these a difference in S tells nothing
_INTERCEPT_SD, _SLOPE_SD = 1.5, 0.5  # p = exp(-S) is intercept 0, slope 1
_STEPS = 30


def above_floor(total: npt.NDArray[np.floating]) -> Float64s:
    """S of every response of one domain from its sums of surprisals, both (n,) in nats; NaN stays NaN.

    >>> import numpy as np
    >>> above_floor(np.array([7.0, 7.0, 7.5, 9.0])).round(2).tolist()
    [0.0, 0.0, 0.5, 2.0]
    """
    present = total[~np.isnan(total)]
    if not len(present):
        return np.full(len(total), np.nan)
    place = int(FLOOR_QUANTILE * (len(present) - 1))
    return np.asarray(np.maximum(total.astype(np.float64) - np.partition(present, place)[place], 0.0))


def doubt_logit(s: Float64s) -> Float64s:
    """Logit of exp(-S)."""
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
    """The most probable intercept and slope, by Newton's method, from the priors N(0, 1.5) and N(1, 0.5).

    ``logits`` (n,) are `doubt_logit` of labelled responses, their floors taken domain by domain; rows that are NaN
    are left out. Without rows: the priors' means.
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
