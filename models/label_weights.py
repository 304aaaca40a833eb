"""The weights of labels as shares of the largest one, as bets with a proven error bound need them.

Labels whose responses were drawn with unequal known probabilities weigh 1 / probability. A bet on a weighted label is
fair for all responses, and cannot lose more than everything, if the bet is scaled by weight / largest weight. The
largest weight must be known before the first bet: it is 1 / the smallest inclusion probability of the labelling plan
(Waudby-Smith and others 2022, arXiv 2210.10768). Where that is unknown, the largest weight so far takes its place, and
the bound holds from the first label with the smallest probability on.
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.arrays import Float64s


def teaching_weight(weight: Float64s) -> Float64s:
    """(n,) weights with which labels teach: a label that does not count in estimates has weight 0, and teaches with 1.

    >>> teaching_weight(np.array([4.0, 0.0])).tolist()
    [4.0, 1.0]
    """
    return np.where(weight > 0, weight, 1.0)


class LargestWeight:
    """The largest weight of the labels of one stream.

    Parameters
    ----------
    smallest_probability : of the labelling plan, in (0, 1]; None: unknown

    Attributes
    ----------
    value : the largest weight that the plan allows, or the largest so far

    Examples
    --------
    >>> [LargestWeight(0.1).relative(weight) for weight in (1.0, 10.0, 20.0)]
    [0.1, 1.0, 2.0]
    >>> unknown = LargestWeight()
    >>> [unknown.relative(weight) for weight in (1.0, 10.0, 5.0)]
    [1.0, 1.0, 0.5]
    """

    __slots__ = ("is_known", "value")

    def __init__(self, smallest_probability: float | None = None) -> None:
        self.is_known = smallest_probability is not None
        self.value = 1 / smallest_probability if smallest_probability else 0.0

    def relative(self, weight: float) -> float:
        """The share of the next weight, which is positive; above 1 only if the plan does not allow that weight."""
        if not self.is_known:
            self.value = max(self.value, weight)
        return weight / self.value

    def restore(self, value: float) -> None:
        """Continue from the largest weight of a snapshot; that of the plan takes precedence."""
        if not self.is_known:
            self.value = value
