"""Prequential (test-then-train) metrics: how good predictions were, by labels that came after them.

A `Tally` takes one labelled prediction at a time and keeps sums and histograms, so its memory and the cost of a metric
do not depend on the number of predictions. Soft labels c in [0, 1] count as a share c of right and 1 - c of wrong;
weights are 1 / inclusion probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

Plain: TypeAlias = list[float]

_SMALLEST = 1e-6  # a probability of exactly 0 would make the log loss infinite
_N_BINS = 10
_N_RANKS = 64
_REACH = 8.0


@dataclass(frozen=True, slots=True)
class Metric:
    """How good the predictions of one classifier were, in one domain (None: in all).

    Attributes
    ----------
    n : number of labels; all other numbers are None where n is 0, ``auroc`` also where all were right or all wrong
    log_loss : nats per label
    brier : mean squared error, in [0, 1]
    auroc : P(a right response has a higher p than a wrong one), from a histogram of logit p with 64 bins
    calibration_error : mean |predicted - observed share of right ones| over ten bins of p, weighted by their content
    calibration_low, calibration_high : interval of the calibration error
    gap : mean predicted minus mean observed; positive means too optimistic
    """

    classifier: str
    domain: str | None
    n: int
    log_loss: float | None = None
    brier: float | None = None
    auroc: float | None = None
    calibration_error: float | None = None
    calibration_low: float | None = None
    calibration_high: float | None = None
    gap: float | None = None


class Tally:
    """Sums over labelled predictions, 172 numbers.

    Examples
    --------
    >>> tally = Tally()
    >>> for p, correct in ((0.9, 1.0), (0.8, 1.0), (0.3, 0.0), (0.6, 0.0)):
    ...     tally.add(p, correct)
    >>> metric = tally.metric("logistic_regression", domain=None)
    >>> metric.n, round(metric.brier, 3), metric.auroc, round(metric.gap, 2)
    (4, 0.125, 1.0, 0.15)
    """

    __slots__ = ("bins", "n", "ranks", "totals")

    def __init__(self) -> None:
        self.n = 0
        self.totals: Plain = [0.0] * 3  # weight, log loss, squared error
        self.bins: Plain = [0.0] * (4 * _N_BINS)  # by p: weight, predicted, observed, squared weighted residuals
        self.ranks: Plain = [0.0] * (2 * _N_RANKS)  # by logit p: wrong, right

    def add(self, p: float, correct: float, weight: float = 1.0) -> None:
        """Add one prediction p in [0, 1] with its label."""
        residual = correct - p
        clipped = min(max(p, _SMALLEST), 1 - _SMALLEST)
        loss = -correct * math.log(clipped) - (1 - correct) * math.log1p(-clipped)
        self.n += 1
        totals, bins, ranks = self.totals, self.bins, self.ranks
        totals[0] += weight
        totals[1] += weight * loss
        totals[2] += weight * residual * residual
        at = 4 * min(int(p * _N_BINS), _N_BINS - 1)
        bins[at] += weight
        bins[at + 1] += weight * p
        bins[at + 2] += weight * correct
        bins[at + 3] += (weight * residual) ** 2
        place = (math.log(clipped / (1 - clipped)) + _REACH) * (_N_RANKS / (2 * _REACH))
        at = 2 * min(max(int(place), 0), _N_RANKS - 1)
        ranks[at] += weight * (1 - correct)
        ranks[at + 1] += weight * correct

    def metric(self, classifier: str, domain: str | None, z: float = 1.96) -> Metric:
        """The metrics of the predictions so far; the interval reaches ``z`` standard errors to each side."""
        if not self.n:
            return Metric(classifier, domain, 0)
        total, loss, squares = self.totals
        error, margin = self._calibration(z)
        gap = (sum(self.bins[1::4]) - sum(self.bins[2::4])) / total
        return Metric(
            classifier, domain, self.n, loss / total, squares / total, self._auroc(),
            error, max(error - margin, 0.0), min(error + margin, 1.0), gap,
        )  # fmt: skip

    def _auroc(self) -> float | None:
        wrong, right = self.ranks[::2], self.ranks[1::2]
        pairs = sum(wrong) * sum(right)
        if pairs <= 0:
            return None
        below, won = 0.0, 0.0
        for w, r in zip(wrong, right, strict=True):
            won += r * (below + w / 2)
            below += w
        return won / pairs

    def _calibration(self, z: float) -> tuple[float, float]:
        """The binned calibration error, and how far the true one may lie from it.

        By the triangle inequality the error of Σ s|g| is at most Σ s|g - γ| with g - γ ~ N(0, σ²) in each bin: folded
        normals, whose sum has mean √(2/π) Σ sσ and variance (1 - 2/π) Σ s²σ². So the interval is conservative.
        """
        error = mean = variance = 0.0
        total = self.totals[0]
        for at in range(0, len(self.bins), 4):
            weight, predicted, observed, squares = self.bins[at : at + 4]
            if weight:
                error += abs(predicted - observed) / total
                mean += math.sqrt(squares) / total
                variance += squares / total**2
        return error, math.sqrt(2 / math.pi) * mean + z * math.sqrt((1 - 2 / math.pi) * variance)

    def include(self, other: Tally) -> None:
        """Add everything that another tally holds."""
        self.n += other.n
        for sums, others in ((self.totals, other.totals), (self.bins, other.bins), (self.ranks, other.ranks)):
            sums[:] = [a + b for a, b in zip(sums, others, strict=True)]

    def snapshot(self) -> Plain:
        """State as plain numbers."""
        return [self.n, *self.totals, *self.bins, *self.ranks]

    @classmethod
    def restore(cls, state: Plain) -> Tally:
        """Make the tally that gave this state."""
        new = cls()
        new.n = int(state[0])
        new.totals, new.bins, new.ranks = state[1:4], state[4 : 4 + 4 * _N_BINS], state[4 + 4 * _N_BINS :]
        return new
