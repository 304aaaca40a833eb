"""Online calibration: probabilities that mean what they say, from the labels as they come.

A `Calibrator` is a line on the logit scale, logit p' = a · logit p + b, learned one label at a time. `DomainOffsets`
adds one offset a domain, pulled towards zero, so that a domain without labels stays where the common line puts it.
Both are learned by online Newton steps for the log loss (an extended Kalman filter of a logistic model) from a prior
worth some dozens of labels, and forget: labels older than about ``memory_labels`` fade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.special import expit, logit

from driftgauge.models.arrays import Float64s

Plain: TypeAlias = list[float]

_SMALLEST = 1e-4
_MAX_WEIGHT = 10.0
_FLATTEST = 0.02  # p (1 - p) below this would let one surprise move everything


class Calibrator:
    """A line on the logit scale, from a prior at the identity.

    Parameters
    ----------
    memory_labels : after this many labels older ones fade; None: all count alike

    Examples
    --------
    >>> calibrator = Calibrator()
    >>> for _ in range(200):  # says .9, is right half of the time
    ...     calibrator.update(0.9, 1.0)
    ...     calibrator.update(0.9, 0.0)
    >>> calibrator.apply(np.array([0.9])).round(1).tolist()
    [0.5]
    """

    def __init__(self, memory_labels: int | None = None) -> None:
        self.memory_labels = memory_labels
        self.slope, self.offset = 1.0, 0.0
        self.precision = (50.0, 0.0, 20.0)  # of slope, of both together, of offset
        self.mean_weight = RunningMean()

    def apply(self, p: Float64s) -> Float64s:
        """Calibrated probabilities, (n,); NaN stays NaN."""
        return np.asarray(expit(self.slope * logit(np.clip(p, _SMALLEST, 1 - _SMALLEST)) + self.offset))

    def apply_one(self, p: float) -> float:
        """`apply` for one probability."""
        return _sigmoid(self.slope * _logit(p) + self.offset)

    def update(self, p: float, correct: float, weight: float = 1.0) -> None:
        """Take one label of a response that was given the uncalibrated probability p."""
        z = _logit(p)
        q = _sigmoid(self.slope * z + self.offset)
        w = self.mean_weight.relative(weight)
        v = w * max(q * (1 - q), _FLATTEST)
        keep = 1 - 1 / self.memory_labels if self.memory_labels else 1.0
        zz, z1, one = self.precision
        zz, z1, one = keep * zz + v * z * z, keep * z1 + v * z, keep * one + v
        self.precision = zz, z1, one
        step, determinant = w * (correct - q), zz * one - z1 * z1
        self.slope += step * (one * z - z1) / determinant
        self.offset += step * (zz - z1 * z) / determinant

    def snapshot(self) -> Plain:
        """State as plain numbers."""
        return [self.slope, self.offset, *self.precision, *self.mean_weight.snapshot()]

    def restore(self, state: Plain) -> None:
        """Take over what `snapshot` gave."""
        self.slope, self.offset = state[:2]
        self.precision = (state[2], state[3], state[4])
        self.mean_weight = RunningMean(*state[5:])


class DomainOffsets:
    """One offset on the logit scale per domain, on top of what the common line says.

    The prior has standard deviation 0.5: a domain needs some 30 labels before its own count as much. At
    most ``max_domains`` domains have one; the others keep 0.
    """

    PRIOR_PRECISION = 4.0

    def __init__(self, memory_labels: int | None = None, max_domains: int = 1_000) -> None:
        self.memory_labels = memory_labels
        self.max_domains = max_domains
        self.offsets: dict[str, tuple[float, float]] = {}
        self.mean_weight = RunningMean()

    def apply(self, p: Float64s, domain: Sequence[str]) -> Float64s:
        """Corrected probabilities, (n,)."""
        offsets = [self.offsets.get(str(d), (0.0, 0.0))[0] for d in domain]
        return np.asarray(expit(logit(np.clip(p, _SMALLEST, 1 - _SMALLEST)) + offsets))

    def update(self, domain: str, p: float, correct: float, weight: float = 1.0) -> None:
        """Take one label of a response of this domain that the common line gave p."""
        if domain not in self.offsets and len(self.offsets) >= self.max_domains:
            return
        offset, precision = self.offsets.get(domain, (0.0, self.PRIOR_PRECISION))
        q = _sigmoid(_logit(p) + offset)
        w = self.mean_weight.relative(weight)
        keep = 1 - 1 / self.memory_labels if self.memory_labels else 1.0
        # what fades goes back to the prior: a domain whose labels stop is no longer corrected for ever
        fading = (1 - keep) * self.PRIOR_PRECISION
        precision = keep * precision + fading + w * max(q * (1 - q), _FLATTEST)
        self.offsets[domain] = offset + (w * (correct - q) - fading * offset) / precision, precision


class RunningMean:
    """Weights count relative to their mean so far, at most ten times it."""

    def __init__(self, n: float = 0.0, total: float = 0.0) -> None:
        self.n, self.total = n, total

    def relative(self, weight: float) -> float:
        """Take a weight; return it relative to the mean so far."""
        self.n += 1
        self.total += weight
        return min(weight * self.n / self.total, _MAX_WEIGHT)

    def snapshot(self) -> Plain:
        """State as plain numbers; the constructor takes it."""
        return [self.n, self.total]


def _logit(p: float) -> float:
    p = min(max(p, _SMALLEST), 1 - _SMALLEST)
    return math.log(p / (1 - p))


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -500 else 0.0
