"""Reliability: how often responses were right, among those with about the same p_correct.

Owns the bins of a reliability plot and the interval of the share in each. Bounded by `N_BINS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

N_BINS = 10
"""Bins of equal width over [0, 1]."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Labelled responses whose p_correct lies in one bin.

    Attributes
    ----------
    n : labels, at least 1
    predicted, observed : weighted means of p_correct and of the labels, in [0, 1]
    ci_low, ci_high : interval of the share of right responses
    """

    n: int
    predicted: float
    observed: float
    ci_low: float
    ci_high: float


def reliability_bin(
    n: int, weight: float, squares: float, predicted: float, correct: float, confidence_level: float = 0.9
) -> ReliabilityBin:
    """The bin of ``n`` labels with these sums.

    Parameters
    ----------
    weight, squares : sums of the weights w and of w²
    predicted, correct : sums of w x p_correct and of w x label
    confidence_level : of the interval, in (0, 1)

    Examples
    --------
    >>> found = reliability_bin(n=20, weight=20.0, squares=20.0, predicted=17.0, correct=15.0)
    >>> round(found.predicted, 2), found.observed, round(found.ci_low, 3), round(found.ci_high, 3)
    (0.85, 0.75, 0.568, 0.873)
    """
    low, high = share_interval(correct / weight, weight**2 / squares, confidence_level)
    return ReliabilityBin(n, predicted / weight, correct / weight, low, high)


def reliability_bins(
    p: Sequence[float], correct: Sequence[float], confidence_level: float = 0.9
) -> list[ReliabilityBin]:
    """The bins of predictions in [0, 1] and their labels, each of weight 1, by prediction; empty ones are left out.

    >>> [(found.n, found.observed) for found in reliability_bins([0.05, 0.06, 1.0], [0.0, 1.0, 1.0])]
    [(2, 0.5), (1, 1.0)]
    """
    bins: dict[int, list[tuple[float, float]]] = {}
    for one, label in zip(p, correct, strict=True):
        bins.setdefault(min(int(one * N_BINS), N_BINS - 1), []).append((one, label))
    return [_plain_bin(found, confidence_level) for _, found in sorted(bins.items())]


def _plain_bin(found: Sequence[tuple[float, float]], confidence_level: float) -> ReliabilityBin:
    n = len(found)
    return reliability_bin(n, n, n, sum(one for one, _ in found), sum(label for _, label in found), confidence_level)


def share_interval(share: float, n: float, confidence_level: float) -> tuple[float, float]:
    """Wilson's score interval of a share in [0, 1] that ``n`` > 0 labels show; ``n`` may be an effective sample size.

    Wilson (1927), doi 10.1080/01621459.1927.10502953.

    >>> [round(bound, 3) for bound in share_interval(1.0, 10, 0.9)]
    [0.787, 1.0]
    """
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(max(share * (1 - share), 0.0) / n + z**2 / (4 * n**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)
