"""Labelled rows as classifiers take them: which are valid, how many are enough, and how features are compressed.

Features are (n, d) float32, NaN (and ±inf) where absent; labels are in [0, 1]; weights are positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.signals.feature_sets import shared_columns


@dataclass(slots=True)
class LabelCount:
    """Number of labels taken, and the sums of their right and wrong parts."""

    n: int = 0
    right: float = 0.0
    wrong: float = 0.0

    def add(self, correct: float) -> None:
        """Count one label; a soft label counts in part as right and in part as wrong."""
        self.n += 1
        self.right += correct
        self.wrong += 1 - correct

    def missing(self, min_labels: int) -> str | None:
        """Which labels are missing before a classifier can predict; None when none are.

        >>> LabelCount(7, right=7.0).missing(10)
        'needs 10 labels of each kind, has 7 right and 0 wrong'
        """
        if min(self.right, self.wrong) >= min_labels:
            return None
        return f"needs {min_labels} labels of each kind, has {self.right:.4g} right and {self.wrong:.4g} wrong"


def check_labels(features: Float32s, correct: Float64s, weight: Float64s, n_features: int | None) -> None:
    """Raise ValueError unless these are n labels, with weights, of n rows of features.

    Parameters
    ----------
    features : (n, d)
    correct, weight : (n,) in [0, 1]; (n,) positive and finite
    n_features : the rows must be of a set of features that can be read as one with this many; None: any d will do
    """
    if features.ndim != 2 or len(features) != len(correct) or len(features) != len(weight):
        shapes = features.shape, np.shape(correct), np.shape(weight)
        raise ValueError(f"features, correct and weight must be (n, d), (n,) and (n,), not {shapes}")
    if n_features not in (None, features.shape[1]):
        shared_columns(features.shape[1], n_features)
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError("correct must lie in [0, 1]")
    if not ((weight > 0) & (weight < np.inf)).all():
        raise ValueError("weight must be positive and finite")


def compressed(features: Float32s) -> Float64s:
    """sign(x) · ln(1 + |x|) of every feature: the tails of sums, kurtosis and perplexity would dominate linear models.

    Small values change little. The result is cut at ±12, which a feature of 160,000 reaches. ±inf becomes NaN, because
    it is not a measurement.

    >>> compressed(np.array([[0.0, -1.0, 3e38, np.inf]], dtype=np.float32)).round(3).tolist()
    [[0.0, -0.693, 12.0, nan]]
    """
    x = features.astype(np.float64)
    x[np.isinf(x)] = np.nan
    return np.copysign(np.minimum(np.log1p(np.abs(x)), 12.0), x)
