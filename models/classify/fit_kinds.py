"""The kinds of classifiers that `fits.fit` makes: one entry of `FITS` each, with its name in `fits.KINDS` too.

All computation runs on one thread, because the rounding of some sums depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.fits import Fit
from driftgauge.models.classify.labelled_rows import compressed
from driftgauge.models.classify.regression_forest import fit_regression_forest
from driftgauge.models.classify.trees import Forest, classification_tree

Predict: TypeAlias = Callable[[Float32s], Float64s]
FitHard: TypeAlias = Callable[[Float32s, Float64s, Float64s, int], Predict]
FitRows: TypeAlias = Callable[[Float32s, Float64s, Float64s, int], Fit]

_TREES = 100  # of the published forest, and of boosting
_HIDDEN_UNITS = 16
_ROWS_AT_ONCE = 4_096


class CrossFitted:
    """A fit of a kind that takes labels 0 or 1, on features brought to a small range (`compressed`).

    A soft label c enters as two rows, a right one of weight c and a wrong one of weight 1 - c. `outside` is made by two
    more fits, each on every other row, when it is first used.
    """

    def __init__(self, fit_hard: FitHard, features: Float32s, correct: Float64s, weight: Float64s, seed: int) -> None:
        self._fit_hard = fit_hard
        self._rows = compressed(features).astype(np.float32), correct, weight / weight.mean()
        self._seed = seed
        self._predict = self._fitted(slice(None))
        self._outside: Float64s | None = None

    def probabilities(self, features: Float32s) -> Float64s:
        """(m,) P(correct)."""
        if not len(features):
            return np.empty(0)
        return self._on_one_thread(self._predict, compressed(features).astype(np.float32))

    @property
    def outside(self) -> Float64s:
        """(n,) P(correct) of each row by the fit to the rows of the other parity."""
        if self._outside is None:
            self._outside = self._cross_predicted()
        return self._outside

    def _cross_predicted(self) -> Float64s:
        p = np.empty(len(self._rows[1]))
        for here, others in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            if len(p[here]):
                p[here] = self._on_one_thread(self._fitted(others), self._rows[0][here])
        return p

    def _fitted(self, rows: slice) -> Predict:
        features, correct, weight = self._rows
        x, is_right, w = hardened(features[rows], correct[rows], weight[rows])
        if not len(is_right) or is_right.min() == is_right.max():
            level = float(np.mean(self._rows[1])) if not len(is_right) else float(is_right[0])
            return lambda new: np.full(len(new), level)
        with _threads().limit(limits=1):
            return self._fit_hard(x, is_right, w, self._seed)

    @staticmethod
    def _on_one_thread(predict: Predict, rows: Float32s) -> Float64s:
        with _threads().limit(limits=1):
            return predict(rows)


@cache
def _threads() -> ThreadpoolController:
    """The thread pools of the libraries above. To look for them takes some 15 ms, so it is done once."""
    return ThreadpoolController()


def published_forest(features: Float32s, is_right: Float64s, weight: Float64s, seed: int) -> Predict:
    """The published method (Entropy Sentinel, arXiv 2601.09001) as a classifier: balanced forest under a sigmoid.

    Every tree learns from as many right as wrong labels, drawn with replacement and by weight (Chen, Liaw and Breiman
    2004); the sigmoid (Platt 1999) is fitted to predictions made on five held-out folds. With fewer than five labels of
    one kind there are as many folds as labels; with one, the sigmoid is the identity.
    """
    n_folds = min(5, int(min(is_right.sum(), (1 - is_right).sum())))
    slope, intercept = 1.0, 0.0
    if n_folds > 1:
        held_out = np.empty(len(is_right))
        for rest, fold in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(features, is_right):
            held_out[fold] = _balanced_trees(features[rest], is_right[rest], weight[rest], seed)(features[fold])
        sigmoid: Any = SklearnLogisticRegression(C=np.inf).fit(held_out[:, None], is_right, sample_weight=weight)
        slope, intercept = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
    trees = _balanced_trees(features, is_right, weight, seed)
    if n_folds < 2:
        return trees
    return lambda x: np.asarray(expit(slope * trees(x) + intercept), dtype=np.float64)


def _balanced_trees(features: Float32s, is_right: Float64s, weight: Float64s, seed: int) -> Predict:
    rng = np.random.default_rng(seed)
    sides = [np.flatnonzero(is_right == side) for side in (0, 1)]
    shares = [weight[side] / weight[side].sum() for side in sides]
    size = min(map(len, sides))
    trees = []
    for _ in range(_TREES):
        drawn = np.concatenate([rng.choice(s, size, p=p) for s, p in zip(sides, shares, strict=True)])
        trees.append(classification_tree(features[drawn], is_right[drawn], int(rng.integers(2**31))))
    return Forest(trees).mean


def logistic_regression(features: Float32s, is_right: Float64s, weight: Float64s, seed: int) -> Predict:
    """Logistic regression with an L1 penalty on scaled features; an absent feature adds nothing."""
    mean, scale = column_scaling(features)
    model: Any = SklearnLogisticRegression(l1_ratio=1, solver="liblinear", C=1.0, max_iter=1_000, random_state=seed)
    model.fit(scaled(features, mean, scale), is_right, sample_weight=weight)
    coefficients, intercept = model.coef_[0].astype(np.float64), float(model.intercept_[0])
    # a sum over one row, because a matrix product rounds a row differently depending on how many others come with it
    return lambda x: np.asarray(expit((scaled(x, mean, scale) * coefficients).sum(axis=1) + intercept))


def neural_network(features: Float32s, is_right: Float64s, weight: Float64s, seed: int) -> Predict:
    """A network of one hidden layer of 16 units, fitted by L-BFGS with an L2 penalty, on scaled features."""
    mean, scale = column_scaling(features)
    model: Any = MLPClassifier(
        (_HIDDEN_UNITS,), activation="tanh", solver="lbfgs", alpha=10.0, max_iter=1_000, random_state=seed
    )
    model.fit(scaled(features, mean, scale), is_right, sample_weight=weight)
    (inner, outer), (inner_bias, outer_bias) = model.coefs_, model.intercepts_

    def predict(x: Float32s) -> Float64s:
        z = scaled(x, mean, scale)
        p = np.empty(len(z))
        for at in range(0, len(z), _ROWS_AT_ONCE):  # sums over one row, as above; in pieces, because they need room
            some = slice(at, at + _ROWS_AT_ONCE)
            hidden = np.tanh((z[some, :, None] * inner).sum(axis=1) + inner_bias)
            p[some] = expit((hidden * outer[:, 0]).sum(axis=1) + outer_bias[0])
        return p

    return predict


def gradient_boosting(features: Float32s, is_right: Float64s, weight: Float64s, seed: int) -> Predict:
    """Histogram gradient boosting: 100 trees of at most 15 leaves, learning rate 0.05.

    It does not stop early, which would hold back rows at random.
    """
    boosting: Any = HistGradientBoostingClassifier  # its type stub lacks early_stopping=False
    model = boosting(learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=seed)
    columns = np.isfinite(features).any(axis=0)  # its binning fails on a column without any value
    model.fit(features[:, columns], is_right, sample_weight=weight)
    return lambda x: np.asarray(model.predict_proba(x[:, columns])[:, 1], dtype=np.float64)


def hardened(features: Float32s, correct: Float64s, weight: Float64s) -> tuple[Float32s, Float64s, Float64s]:
    """Hard labels with the same meaning: a soft label becomes two rows that share its weight.

    >>> x, y, w = hardened(np.zeros((2, 1), dtype=np.float32), np.array([1.0, 0.25]), np.ones(2))
    >>> y.tolist(), w.tolist()
    ([1.0, 1.0, 0.0], [1.0, 0.25, 0.75])
    """
    is_right = np.concatenate([np.ones(len(correct)), np.zeros(len(correct))])
    shares = np.concatenate([weight * correct, weight * (1 - correct)])
    kept = np.flatnonzero(shares > 0)
    order = kept[np.argsort(kept % len(correct), kind="stable")]
    return features[order % len(correct)], is_right[order], shares[order]


def column_scaling(features: Float32s) -> tuple[Float64s, Float64s]:
    """(d,) mean and (d,) 1 / standard deviation of the columns of (n, d) features, without missing values.

    The second is 0 for a constant column.

    >>> mean, scale = column_scaling(np.array([[1.0, 2.0], [3.0, 2.0]], dtype=np.float32))
    >>> mean.tolist(), scale.tolist()
    ([2.0, 2.0], [1.0, 0.0])
    """
    present = np.isfinite(features)
    x, n = np.where(present, features, 0).astype(np.float64), np.maximum(present.sum(axis=0), 1)
    mean = x.sum(axis=0) / n
    deviation = np.sqrt((np.where(present, x - mean, 0) ** 2).sum(axis=0) / n)
    return mean, np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9)


def scaled(features: Float32s, mean: Float64s, scale: Float64s) -> Float64s:
    """(n, d) features standardised by `column_scaling`, clipped at five deviations; 0 where missing."""
    return np.nan_to_num(np.clip((features - mean) * scale, -5, 5), nan=0.0)


def _cross_fitted(fit_hard: FitHard) -> FitRows:
    return lambda features, correct, weight, seed: CrossFitted(fit_hard, features, correct, weight, seed)


def _random_forest(features: Float32s, correct: Float64s, weight: Float64s, seed: int) -> Fit:
    return fit_regression_forest(features, correct, weight, seed)


FITS: Mapping[str, FitRows] = {
    "random_forest": _random_forest,
    "logistic_regression": _cross_fitted(logistic_regression),
    "neural_network": _cross_fitted(neural_network),
    "gradient_boosting": _cross_fitted(gradient_boosting),
    "published_forest": _cross_fitted(published_forest),
}
