"""How accurate the kept responses are when the riskiest ones are sent to people: the risk-coverage curve and its area.

Responses are kept in the order of their p_correct, the highest first. The curve has the accuracy of the kept ones for
every share kept. Sources: El-Yaniv and Wiener (2010) for the curve, Geifman, Uziel and El-Yaniv (2019,
https://arxiv.org/abs/1805.08206) for its area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftgauge.models.arrays import Float64s


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The curve of n labelled predictions; made by `risk_coverage`.

    Attributes
    ----------
    accuracy : (n,) accuracy of the i responses with the highest p_correct, for i = 1 … n; the last is that of all
    best : (n,) the same, had every right response a higher p_correct than every wrong one
    """

    accuracy: Float64s
    best: Float64s

    @property
    def area(self) -> float:
        """AURC = (1 / n) Σ (1 - accuracy of the i kept ones), i = 1 … n, in [0, 1]; the smaller, the better.

        A p_correct that says nothing has the share of wrong responses as its AURC.
        """
        return float(1 - self.accuracy.mean())

    @property
    def best_area(self) -> float:
        """AURC of the best order there is. It is not 0, because wrong responses are kept in the end."""
        return float(1 - self.best.mean())

    def at(self, kept: float) -> float:
        """Accuracy when this share of the responses is kept, in (0, 1]; at least one response is kept."""
        return float(self.accuracy[max(round(kept * len(self.accuracy)), 1) - 1])


def risk_coverage(p: Float64s, correct: Float64s) -> RiskCoverage:
    """Make the curve of predictions p, (n,) in [0, 1], with their labels, (n,) in [0, 1]; n is at least 1.

    Responses with the same p have no order. Each counts with the mean label of all of them, so the result does not
    depend on the order of the arguments.

    Examples
    --------
    >>> curve = risk_coverage(np.array([0.9, 0.8, 0.6, 0.3]), np.array([1.0, 1.0, 0.0, 1.0]))
    >>> curve.accuracy.round(2).tolist(), curve.best.tolist()
    ([1.0, 1.0, 0.67, 0.75], [1.0, 1.0, 1.0, 0.75])
    >>> round(curve.area, 3), round(curve.best_area, 3), curve.at(0.5)
    (0.146, 0.062, 1.0)
    """
    _, tied, counts = np.unique(-p, return_inverse=True, return_counts=True)
    means = np.bincount(tied, weights=correct) / counts
    kept = np.arange(1, len(p) + 1)
    return RiskCoverage(np.cumsum(np.repeat(means, counts)) / kept, np.cumsum(np.sort(correct)[::-1]) / kept)
