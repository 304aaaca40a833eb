"""The published method (Entropy Sentinel, arXiv 2601.09001) and the constant, as baselines of the evaluation.

Each fits a classifier to labelled rows; the mean of its probabilities over a domain is the estimate. Labels are in
[0, 1], features may be NaN, and columns that are absent everywhere are left out. Deterministic given the seed.
`driftgauge.models.classify.refitted.PublishedForestClassifier` is the same method adapted to one classifier among
others: with weights and forgetting, trees balanced one by one, and a sigmoid of five folds instead of three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.signals.feature_sets import ENTROPY_FEATURES, FEATURES

Predict: TypeAlias = Callable[[Float32s], Float64s]  # (n, d) features -> (n,) probabilities of being correct
Fit: TypeAlias = Callable[[Float32s, Float64s, int], Predict]  # features, labels, seed

SENTINEL_17 = FEATURES
SENTINEL_10 = tuple(name for name in ENTROPY_FEATURES if name != "entropy_sum")
_FOLDS = 3


def fit_constant(features: Float32s, correct: Float64s, seed: int) -> Predict:
    """The accuracy where the labels are, for every row: the baseline every estimate must beat."""
    del features, seed
    level = float(np.mean(correct))
    return lambda rows: np.full(len(rows), level)


def fit_sentinel_forest(
    features: Float32s, correct: Float64s, seed: int, *, names: tuple[str, ...] = SENTINEL_17
) -> Predict:
    """The published method: a balanced random forest with a sigmoid on top."""
    forest = RandomForestClassifier(100, class_weight="balanced", random_state=seed)
    return _calibrated(forest, features, correct, names, seed)


def fit_sentinel_regression(features: Float32s, correct: Float64s, seed: int) -> Predict:
    """The published alternative: L1 logistic regression on standardised features, missing ones at their mean."""
    regression = LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=seed)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), regression)
    return _calibrated(model, features, correct, SENTINEL_17, seed)


def _calibrated(model: Any, features: Float32s, correct: Float64s, names: tuple[str, ...], seed: int) -> Predict:
    """The model fitted on all rows, under a sigmoid fitted on predictions of three folds."""
    wanted = [FEATURES.index(name) for name in names]
    columns = [column for column in wanted if not np.isnan(features[:, column]).all()]
    is_right = (correct >= 0.5).astype(np.int64)  # graded labels are cut at one half, as a classifier needs them
    if not columns or min(is_right.sum(), len(is_right) - is_right.sum()) < _FOLDS:
        return fit_constant(features, correct, seed)
    fitted = CalibratedClassifierCV(
        model,
        method="sigmoid",
        cv=_FOLDS,
        ensemble=False,  # pyright: ignore[reportArgumentType]
    )
    fitted.fit(features[:, columns], is_right)
    return lambda rows: np.asarray(fitted.predict_proba(np.ascontiguousarray(rows[:, columns]))[:, 1], dtype=np.float64)
