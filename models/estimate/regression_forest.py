"""Forests and logistic regressions over the published features: from rows with labels to probabilities of new rows.

Owns the published classifiers (Entropy Sentinel, arXiv 2601.09001) and the plain forest that is better on most.
All take labels in [0, 1] and features with NaN; columns that are absent everywhere are left out. Deterministic given
the seed. The mean of their probabilities over a window is an unbiased estimate only where they are calibrated on that
domain, which is what a shift breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree  # pyright: ignore[reportMissingModuleSource]

from driftgauge.models.arrays import Float32s, Float64s, Int64s
from driftgauge.models.signals.features import ENTROPY_FEATURES, FEATURES

PUBLISHED_17 = FEATURES
_FOLDS = 3
_TREE_ROWS = 500
PUBLISHED_10 = tuple(name for name in ENTROPY_FEATURES if name != "entropy_sum")


class RowModel(Protocol):
    """Anything that gives each row a probability of being correct."""

    def probabilities(self, features: Float32s) -> Float64s:
        """(n,) in [0, 1]."""
        ...


Fit: TypeAlias = Callable[[Float32s, Float64s, int], RowModel]


class _Fitted:
    def __init__(self, predict: Callable[[Float32s], Float64s], columns: npt.NDArray[np.intp]) -> None:
        self.predict = predict
        self.columns = columns

    def probabilities(self, features: Float32s) -> Float64s:
        return np.asarray(self.predict(np.ascontiguousarray(features[:, self.columns])), dtype=np.float64)


class Constant:
    """The same probability for every row: the accuracy where the labels are."""

    def __init__(self, value: float) -> None:
        self.value = value

    def probabilities(self, features: Float32s) -> Float64s:
        """(n,) of the one value."""
        return np.full(len(features), self.value)


def fit_constant(features: Float32s, correct: Float64s, seed: int) -> RowModel:
    """The baseline every estimate must beat: no shift at all."""
    del features, seed
    return Constant(float(np.mean(correct)))


class PlainForest(_Fitted):
    """A fitted plain forest; ``outside`` (n,) are the out-of-bag probabilities of the rows it was fitted on."""

    def __init__(
        self, predict: Callable[[Float32s], Float64s], columns: npt.NDArray[np.intp], outside: Float64s
    ) -> None:
        super().__init__(predict, columns)
        self.outside = outside


def fit_plain_forest(features: Float32s, correct: Float64s, seed: int, *, trees: int = 100) -> PlainForest:
    """A regression forest with leaves of five: no balancing, no calibration on top.

    Splits by variance, which for labels that are 0 or 1 is the Gini criterion, and takes graded labels as they are.
    A tree sees 500 rows at most, so that a fit costs little more with many; on recordings with 1,920 this moved no
    median error by more than .003.
    """
    columns = _present(features)
    if not len(columns):
        level = float(np.mean(correct))
        return PlainForest(lambda rows: np.full(len(rows), level), columns, np.full(len(correct), level))
    rows, n = np.ascontiguousarray(features[:, columns], dtype=np.float32), len(correct)
    holds_nan = bool(np.isnan(rows).any())
    draw = np.random.RandomState(seed)
    grown, total, votes = [], np.zeros(n), np.zeros(n)
    with config_context(skip_parameter_validation=True, assume_finite=not holds_nan):  # a quarter faster
        for _ in range(trees):
            drawn = np.bincount(draw.randint(n, size=min(n, _TREE_ROWS)), minlength=n)
            tree = _grow(rows, correct, drawn.astype(np.float64), draw, holds_nan=holds_nan)
            outside = np.flatnonzero(drawn == 0)
            total[outside] += tree.predict(rows[outside])[:, 0]
            votes[outside] += 1
            grown.append(tree)
    fallback = float(np.mean(correct))
    return PlainForest(
        lambda new: _mean_of_trees(grown, new), columns, np.where(votes, total / np.maximum(votes, 1), fallback)
    )


def _grow(rows: Float32s, correct: Float64s, drawn: Float64s, draw: np.random.RandomState, *, holds_nan: bool) -> Tree:
    """One tree on a bootstrap sample. scikit-learn's forest makes the same, with two milliseconds more for each."""
    tree = DecisionTreeRegressor(min_samples_leaf=5, max_features="sqrt", random_state=draw)
    # only the checks of the input prepare a tree for NaN
    return tree.fit(rows, correct, sample_weight=drawn, check_input=holds_nan).tree_


def _mean_of_trees(trees: Sequence[Tree], rows: Float32s) -> Float64s:
    total = np.zeros(len(rows))
    for tree in trees:
        total += tree.predict(rows)[:, 0]
    return total / len(trees)


def fit_published_forest(
    features: Float32s, correct: Float64s, seed: int, *, names: tuple[str, ...] = PUBLISHED_17
) -> RowModel:
    """The published method: a balanced random forest with a sigmoid on top."""
    forest = RandomForestClassifier(100, class_weight="balanced", random_state=seed)
    return _calibrated(forest, features, correct, names, seed)


def fit_published_regression(features: Float32s, correct: Float64s, seed: int) -> RowModel:
    """The published alternative: L1 logistic regression on standardised features, missing ones at their mean."""
    regression = LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=seed)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), regression)
    return _calibrated(model, features, correct, PUBLISHED_17, seed)


def _calibrated(model: Any, features: Float32s, correct: Float64s, names: tuple[str, ...], seed: int) -> RowModel:
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


def _right(correct: Float64s) -> Int64s:
    """Graded labels cut at one half, as a classifier needs them."""
    return (correct >= 0.5).astype(np.int64)


def _columns(names: tuple[str, ...], features: Float32s) -> npt.NDArray[np.intp]:
    wanted = np.array([FEATURES.index(name) for name in names])
    return wanted[np.isin(wanted, _present(features))]


def _present(features: Float32s) -> npt.NDArray[np.intp]:
    return np.flatnonzero(~np.isnan(features).all(axis=0))
