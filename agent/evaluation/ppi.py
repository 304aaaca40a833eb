"""Prediction-powered inference: labels correct the mean of predictions, without trusting them.

Sources: Angelopoulos et al., arXiv 2301.09633 (PPI) and 2311.01453 (PPI++, the tuned form). Intervals are normal
approximations, too narrow below some fifty labels and near accuracy 0 or 1. A baseline for comparison: the default
estimator treats few labels exactly.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from driftgauge.models.arrays import Float64s


def ppi_mean(
    p: Float64s, correct: Float64s, weight: Float64s, confidence_level: float = 0.9, *, tuned: bool = True
) -> tuple[float, float, float]:
    """Accuracy of n responses, and its interval, from at least two labels.

    Parameters
    ----------
    p : (n,) predictions; correct : (n,) labels, NaN = none; weight : (n,) 1 / inclusion probability of the labels
    tuned : whether predictions are weighted by their covariance with the labels (PPI++) or by one (PPI)

    Examples
    --------
    >>> import numpy as np
    >>> p = np.tile([0.2, 0.8], 50)
    >>> labels = np.where(np.arange(100) < 20, p > 0.5, np.nan)
    >>> round(ppi_mean(p, labels, np.ones(100))[0], 2)
    0.5
    """
    at = np.flatnonzero(~np.isnan(correct))
    y, q, w = correct[at], p[at], weight[at] / weight[at].mean()
    n, total = len(at), len(p)
    scale = _tuned(y, q, p, n / total) if tuned else 1.0
    rest = y - scale * q
    middle = scale * float(p.mean()) + float(np.average(rest, weights=w))
    spread = np.sqrt(np.var(w * (rest - np.average(rest, weights=w)), ddof=1) / n + scale**2 * p.var() / total)
    half = float(norm.ppf((1 + confidence_level) / 2) * spread)
    return float(np.clip(middle, 0, 1)), max(middle - half, 0.0), min(middle + half, 1.0)


def _tuned(y: Float64s, q: Float64s, p: Float64s, share: float) -> float:
    variance = (1 + share) * float(p.var())
    return float(np.clip(np.cov(y, q)[0, 1] / variance, 0, 1)) if variance > 0 else 0.0
