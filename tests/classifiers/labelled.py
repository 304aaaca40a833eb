"""Labelled rows for the tests of classifiers."""

from __future__ import annotations

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s

USEFUL = 0.85
"""Of the Brier score of the constant share of right ones: a classifier that learned something stays below it."""

Labels = tuple[Float32s, Float64s, Float64s]


def labels(n: int, *, seed: int = 0, d: int = 17, soft: bool = False, holes: float = 0.05) -> Labels:
    """Labels that depend on the first two features; some features are missing, weights are between 1 and 4."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(2.0, 1.0, size=(n, d)).astype(np.float32)
    p = 1 / (1 + np.exp(2.0 * (features[:, 0] + features[:, 1] - 3.5)))
    correct = p if soft else (rng.random(n) < p).astype(float)
    features[rng.random((n, d)) < holes] = np.nan
    return features, correct, rng.choice([1.0, 2.0, 4.0], n)
