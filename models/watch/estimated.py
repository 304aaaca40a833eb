"""Whether an estimate is so far below the target that this is not one of the many intervals that miss by chance.

An interval at a level of .9 lies below a target that is met in one window of twenty, and many windows are looked at. So
the interval is widened until all looks of a horizon together expect no more false warnings than their part of the
budget. Windows that do not overlap are counted as looks of their own, and those between them as the same look: the
bound is approximate, and only as good as the intervals.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from driftgauge.models.outputs import Estimate

_EDGE = 1e-6
"""Ratios are kept this far from 0 and 1, where their logits are infinite."""


def upper_bound(estimate: Estimate, tail: float) -> float | None:
    """The upper end of a wider interval, which the true accuracy exceeds with this probability; None without a value.

    The interval is widened on the scale of logits, as a normal one.

    >>> from types import SimpleNamespace
    >>> estimate = SimpleNamespace(accuracy=0.6, ci_high=0.7, confidence_level=0.9)
    >>> round(upper_bound(estimate, 0.05), 3), round(upper_bound(estimate, 0.001), 3)
    (0.7, 0.775)
    """
    if estimate.accuracy is None or estimate.ci_high is None:
        return None
    nominal = NormalDist().inv_cdf(0.5 + estimate.confidence_level / 2)
    ratio = NormalDist().inv_cdf(1 - tail) / nominal
    middle, high = _logit(estimate.accuracy), _logit(estimate.ci_high)
    return 1 / (1 + math.exp(-middle - ratio * (high - middle)))


def _logit(ratio: float) -> float:
    kept = min(max(ratio, _EDGE), 1 - _EDGE)
    return math.log(kept / (1 - kept))
