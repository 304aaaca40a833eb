"""Forests and logistic regressions over the published features: from rows with labels to probabilities of new rows.

Owns the published classifiers (Entropy Sentinel, arXiv 2601.09001) and the plain forest that is better on most.
All take labels in [0, 1] and features with NaN; columns that are absent everywhere are left out. Deterministic given
the seed. The mean of their probabilities over a window is an unbiased estimate only where they are calibrated on that
domain, which is what a shift breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from driftgauge.models.features import ENTROPY_FEATURES, FEATURES

Floats32: TypeAlias = npt.NDArray[np.float32]
Floats64: TypeAlias = npt.NDArray[np.float64]
PUBLISHED_17 = FEATURES
_FOLDS = 3
PUBLISHED_10 = tuple(name for name in ENTROPY_FEATURES if name != "entropy_sum")


class RowModel(Protocol):
    """Anything that gives each row a probability of being correct."""

    def probabilities(self, features: Floats32) -> Floats64:
        """(n,) in [0, 1]."""
        ...


Fit: TypeAlias = Callable[[Floats32, Floats64, int], RowModel]


class _Fitted:
    def __init__(self, predict: Callable[[Floats32], Floats64], columns: npt.NDArray[np.intp]) -> None:
        self.predict = predict
        self.columns = columns

    def probabilities(self, features: Floats32) -> Floats64:
        return np.asarray(self.predict(np.ascontiguousarray(features[:, self.columns])), dtype=np.float64)


class Constant:
    """The same probability for every row: the accuracy where the labels are."""

    def __init__(self, value: float) -> None:
        self.value = value

    def probabilities(self, features: Floats32) -> Floats64:
        """(n,) of the one value."""
        return np.full(len(features), self.value)


def fit_constant(features: Floats32, correct: Floats64, seed: int) -> RowModel:
    """The baseline every estimate must beat: no shift at all."""
    del features, seed
    return Constant(float(np.mean(correct)))


class PlainForest(_Fitted):
    """A fitted plain forest; ``outside`` (n,) are the out-of-bag probabilities of the rows it was fitted on."""

    def __init__(
        self, predict: Callable[[Floats32], Floats64], columns: npt.NDArray[np.intp], outside: Floats64
    ) -> None:
        super().__init__(predict, columns)
        self.outside = outside


def fit_plain_forest(features: Floats32, correct: Floats64, seed: int, *, trees: int = 100) -> PlainForest:
    """A regression forest with leaves of five: no balancing, no calibration on top.

    Splits by variance, which for labels that are 0 or 1 is the Gini criterion, and takes graded labels as they are.
    """
    columns = _present(features)
    if not len(columns):
        level = float(np.mean(correct))
        return PlainForest(lambda rows: np.full(len(rows), level), columns, np.full(len(correct), level))
    # pyright takes the type of max_features and ensemble from their defaults
    model = RandomForestRegressor(
        trees,
        min_samples_leaf=5,
        max_features="sqrt",  # pyright: ignore[reportArgumentType]
        oob_score=True,
        random_state=seed,
    )
    model.fit(features[:, columns], correct)
    return PlainForest(_mean_of_trees(model), columns, np.asarray(model.oob_prediction_, dtype=np.float64))


def _mean_of_trees(model: RandomForestRegressor) -> Callable[[Floats32], Floats64]:
    """What ``model.predict`` gives, to the bit, without its checks of the input, which cost more than few rows do."""
    trees = [fitted.tree_ for fitted in model.estimators_]

    def predict(rows: Floats32) -> Floats64:
        total = np.zeros(len(rows))
        for tree in trees:
            total += tree.predict(rows)[:, 0]
        return total / len(trees)

    return predict


def fit_published_forest(
    features: Floats32, correct: Floats64, seed: int, *, names: tuple[str, ...] = PUBLISHED_17
) -> RowModel:
    """The published method: a balanced random forest with a sigmoid on top."""
    forest = RandomForestClassifier(100, class_weight="balanced", random_state=seed)
    return _calibrated(forest, features, correct, names, seed)


def fit_published_regression(features: Floats32, correct: Floats64, seed: int) -> RowModel:
    """The published alternative: L1 logistic regression on standardised features, missing ones at their mean."""
    regression = LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=seed)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), regression)
    return _calibrated(model, features, correct, PUBLISHED_17, seed)


def _calibrated(model: Any, features: Floats32, correct: Floats64, names: tuple[str, ...], seed: int) -> RowModel:
    """The model fitted on all rows, under a sigmoid fitted on predictions of three folds."""
    columns, right = _columns(names, features), _right(correct)
    if not len(columns) or min(right.sum(), len(right) - right.sum()) < _FOLDS:
        return fit_constant(features, correct, seed)
    fitted = CalibratedClassifierCV(
        model,
        method="sigmoid",
        cv=_FOLDS,
        ensemble=False,  # pyright: ignore[reportArgumentType]
    )
    fitted.fit(features[:, columns], right)
    return _Fitted(lambda rows: fitted.predict_proba(rows)[:, 1], columns)


def _right(correct: Floats64) -> npt.NDArray[np.int64]:
    """Graded labels cut at one half, as a classifier needs them."""
    return (correct >= 0.5).astype(np.int64)


def _columns(names: tuple[str, ...], features: Floats32) -> npt.NDArray[np.intp]:
    wanted = np.array([FEATURES.index(name) for name in names])
    return wanted[np.isin(wanted, _present(features))]


def _present(features: Floats32) -> npt.NDArray[np.intp]:
    return np.flatnonzero(~np.isnan(features).all(axis=0))
