"""Online calibration: of the responses given probability p, a share p should be right. Learned label by label.

A `Calibrator` is a line on the logit scale, logit p' = a · logit p + b. `DomainOffsets` adds one offset for each
domain, shrunk towards zero; a domain without labels has offset 0. Both are learned by online Newton steps for the log
loss (an extended Kalman filter of a logistic model) from a prior worth some dozens of labels. Labels older than about
``memory_labels`` fade.
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
_FLATTEST = 0.02  # floor of p (1 - p): below it one wrong response that was given p = .99 would move the line far


class Calibrator:
    """A line on the logit scale, from a prior at the identity.

    Parameters
    ----------
    memory_labels : labels older than about this many fade; None: all count alike

    Examples
    --------
    >>> calibrator = Calibrator()
    >>> for _ in range(200):  # p = .9, but half of the responses are right
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
        """Learn from one label of a response with the uncalibrated probability p."""
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
        """Take over a `snapshot`."""
        self.slope, self.offset = state[:2]
        self.precision = (state[2], state[3], state[4])
        self.mean_weight = RunningMean(*state[5:])


class DomainOffsets:
    """One offset on the logit scale per domain, added after the common line.

    The prior has standard deviation 0.5: some 30 labels of a domain weigh as much as the prior. At most
    ``max_domains`` domains have an offset; the others keep 0.

    Examples
    --------
    >>> offsets = DomainOffsets()
    >>> for _ in range(30):  # labels that say wrong where 0.8 was predicted
    ...     offsets.update("law", 0.8, 0.0)
    >>> offsets.apply(np.array([0.8, 0.8]), ["law", "art"]).round(2).tolist()
    [0.29, 0.8]
    """

    PRIOR_PRECISION = 4.0

    def __init__(self, memory_labels: int | None = None, max_domains: int = 1_000) -> None:
        self.memory_labels = memory_labels
        self.max_domains = max_domains
        self.offsets: dict[str, tuple[float, float]] = {}
        self.mean_weight = RunningMean()

    def apply(self, p: Float64s, domain: str | Sequence[str]) -> Float64s:
        """Corrected probabilities, (n,), of responses of one domain, or of a domain each."""
        offsets = self._offset(domain) if isinstance(domain, str) else np.array([self._offset(d) for d in domain])
        return np.asarray(expit(logit(np.clip(p, _SMALLEST, 1 - _SMALLEST)) + offsets))

    def _offset(self, domain: str) -> float:
        return self.offsets.get(domain, (0.0, 0.0))[0]

    def update(self, domain: str, p: float, correct: float, weight: float = 1.0) -> None:
        """Learn from one label of a response of this domain; p is its probability by the common line."""
        if domain not in self.offsets and len(self.offsets) >= self.max_domains:
            return
        offset, precision = self.offsets.get(domain, (0.0, self.PRIOR_PRECISION))
        q = _sigmoid(_logit(p) + offset)
        w = self.mean_weight.relative(weight)
        keep = 1 - 1 / self.memory_labels if self.memory_labels else 1.0
        # precision that fades is replaced by the prior's, so the offset of a domain decays towards 0
        fading = (1 - keep) * self.PRIOR_PRECISION
        precision = keep * precision + fading + w * max(q * (1 - q), _FLATTEST)
        self.offsets[domain] = offset + (w * (correct - q) - fading * offset) / precision, precision


class RunningMean:
    """The mean of the weights so far; a weight counts relative to it, at most ten times.

    >>> mean = RunningMean()
    >>> mean.relative(1.0), mean.relative(3.0)
    (1.0, 1.5)
    """

    def __init__(self, n: float = 0.0, total: float = 0.0) -> None:
        self.n, self.total = n, total

    def relative(self, weight: float) -> float:
        """Add a weight to the mean, and return it relative to the mean."""
        self.n += 1
        self.total += weight
        return min(weight * self.n / self.total, _MAX_WEIGHT)

    def snapshot(self) -> Plain:
        """State as plain numbers, the arguments of the constructor."""
        return [self.n, self.total]


def _logit(p: float) -> float:
    p = min(max(p, _SMALLEST), 1 - _SMALLEST)
    return math.log(p / (1 - p))


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -500 else 0.0
