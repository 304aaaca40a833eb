"""Importance weighting: a labelled response weighs as much as responses like it are frequent in the window.

Assumes covariate shift: responses with the same features are right equally often everywhere. Gives no estimate where
the window has responses unlike all labelled ones, or where a few labelled ones carry all the weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.learn.gate import auroc

MIN_EFFECTIVE_LABELS = 50.0
MAX_AUROC = 0.95
"""AUROC of the classifier between window and source; above it they do not overlap."""

_CLIP = 0.99  # quantile of the weights at which the largest are cut


@dataclass(frozen=True, slots=True)
class Weighted:
    """The weighted accuracy, Kish's effective number of labels, and why there is none (then it is None)."""

    accuracy: float | None
    effective_sample_size: float
    problem: str | None = None


def importance_weighted(source: Float32s, correct: Float64s, window: Float32s) -> Weighted:
    """Accuracy of the responses of a window from labelled ones elsewhere.

    A logistic regression separates window from source; its odds are the density ratio.

    Parameters
    ----------
    source, correct : (n, d) features and (n,) labels in [0, 1]
    window : (m, d) features; NaN counts as the mean
    """
    rows = np.concatenate([source, window])
    rows = np.clip(rows[:, ~np.isnan(rows).all(axis=0)], -1e6, 1e6)
    is_window = np.repeat([0.0, 1.0], [len(source), len(window)])
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    score = model.fit(rows, is_window).decision_function(rows)
    apart, _ = auroc(score, is_window)
    odds = np.exp(np.clip(score[: len(source)], -30, 30))
    weight = np.minimum(odds, np.quantile(odds, _CLIP))
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    if apart > MAX_AUROC:
        return Weighted(None, effective, f"the window is unlike the labelled responses (AUROC {apart:.2f})")
    if effective < MIN_EFFECTIVE_LABELS:
        return Weighted(None, effective, f"{effective:.0f} effective labels of {MIN_EFFECTIVE_LABELS:.0f}")
    return Weighted(float(np.average(correct, weights=weight)), effective)
