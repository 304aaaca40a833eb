"""The dispersion of labels: how much less graded labels vary than labels that are 0 or 1.

It is Var(y - p) over the mean of p (1 - p), for labels y and probabilities p: 1 for labels that are 0 or 1, less for
graded ones, which say more about the accuracy (`ShiftPrior.dispersion`).
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.arrays import Float64s

_KNOWN_LABELS = 10.0


def label_dispersion(correct: Float64s, p: Float64s) -> float:
    """The dispersion of labels ``correct`` (n,) in [0, 1] around their probabilities ``p`` (n,), in [0.02, 1].

    >>> round(label_dispersion(np.array([0.4, 0.6]), np.array([0.5, 0.5])), 3)
    0.04
    """
    if np.isin(correct, (0.0, 1.0)).all():
        return 1.0
    return _bounded(float(np.sum((correct - p) ** 2)) / max(float(np.sum(p * (1 - p))), 1e-6))


def pooled_dispersion(known: float, correct: Float64s, p: Float64s) -> float:
    """A dispersion ``known`` from other labels, which count as ten, together with that of n labels, as above.

    >>> round(pooled_dispersion(0.5, np.array([0.4, 0.6]), np.array([0.5, 0.5])), 3)
    0.423
    """
    if not len(correct) or (known == 1 and np.isin(correct, (0.0, 1.0)).all()):
        return known
    relative = float(np.sum((correct - p) ** 2)) / max(float(np.mean(p * (1 - p))), 1e-6)
    return _bounded((_KNOWN_LABELS * known + relative) / (_KNOWN_LABELS + len(correct)))


def _bounded(dispersion: float) -> float:
    return min(max(dispersion, 0.02), 1.0)
