"""Classifiers that are fitted again to labelled rows on a schedule; the models are scikit-learn's.

A fitted scikit-learn model has no safe plain form, so a snapshot holds the training rows, the seed and the kind, and
`restore` fits again. A digest of the predictions on the training rows shows whether the new fit equals the saved one;
the snapshot also names the versions of the libraries. All computation runs on one thread, because the rounding of some
sums depends on the number of threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import scipy
import sklearn
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.classifier import (
    ClassifierSettings,
    LabelCount,
    check_labels,
    compressed,
    pack,
)
from driftgauge.models.signals.feature_sets import in_width

Predict: TypeAlias = Callable[[Float32s], Float64s]

N_TREES = 100
LIBRARIES = {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}


@cache
def _threads() -> ThreadpoolController:
    """The thread pools of the libraries above. To look for them takes some 15 ms, so it is done once."""
    return ThreadpoolController()


class Refitted:
    """The shared part of the refitted kinds; each kind defines `fit`.

    `learn` changes nothing: labels are learned when `refit` is called with them. Features are compressed first
    (`compressed`), which makes no difference to trees. A soft label c enters as two rows, a right one of weight c and
    a wrong one of weight 1 - c. With ``memory_labels`` = m, a row that is followed by a newer rows has weight
    2^(-a/m).

    Attributes
    ----------
    n_updates : number of fits
    is_reproduced : False when `restore` made a fit whose predictions differ from those of the saved fit, as other
        library versions may
    fitted_with : versions of the libraries that made the saved fit
    """

    kind: ClassVar[str]

    def __init__(self, settings: ClassifierSettings) -> None:
        self.settings = settings
        self.n_updates = 0
        self.n_labels = 0
        self.is_reproduced = True
        self.fitted_with = LIBRARIES
        self._problem = LabelCount().missing(settings.min_labels)
        self._training: tuple[Float32s, Float64s, Float64s] | None = None
        self._predict: Predict | None = None

    def fit(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        """Fit to hard labels and compressed features (NaN where missing); the result predicts from such features."""
        raise NotImplementedError

    def not_ready(self) -> str | None:
        """Why there is no prediction yet."""
        return None if self._predict else self._problem

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct), (n,)."""
        if self._predict is None or self._training is None or not len(features):
            return np.full(len(features), np.nan)
        with _threads().limit(limits=1):
            return self._predict(compressed(in_width(features, self._training[0].shape[1])).astype(np.float32))

    def learn(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Check the labels only; they are learned at the next `refit`."""
        check_labels(features, correct, weight, None if self._training is None else self._training[0].shape[1])

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """Predictions, (n,); the labels are learned at the next `refit`."""
        self.learn(features, correct, weight)
        return self.predict_proba(features)

    def refit(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Fit to these rows, oldest first; with too few right or wrong labels the present fit stays."""
        check_labels(features, correct, weight, None)
        count = LabelCount(len(correct), float(correct.sum()), float((1 - correct).sum()))
        self._problem = count.missing(self.settings.min_labels)
        if self._problem:
            return
        self._training = features.astype(np.float32), correct.astype(np.float64), weight.astype(np.float64)
        self.n_labels = len(correct)
        self.n_updates += 1
        self._fit()

    def _fit(self) -> None:
        assert self._training is not None  # noqa: S101 - both callers set it; for the type checker
        features, correct, weight = self._training
        with _threads().limit(limits=1):
            self._predict = self.fit(
                *hardened(compressed(features).astype(np.float32), correct, self._effective(correct, weight))
            )

    def _effective(self, correct: Float64s, weight: Float64s) -> Float64s:
        """Weights with forgetting and balance, mean 1."""
        if self.settings.memory_labels is not None:
            weight = weight * 0.5 ** (np.arange(len(weight))[::-1] / self.settings.memory_labels)
        if self.settings.imbalance == "balance":
            share = np.average(correct, weights=weight)
            weight = weight * (correct / share + (1 - correct) / (1 - share)) / 2
        return np.asarray(weight / weight.mean(), dtype=np.float64)

    def digest(self) -> str:
        """Hash of the predictions on the training rows, 16 hexadecimal digits; empty before the first fit."""
        if self._training is None:
            return ""
        return hashlib.blake2b(self.predict_proba(self._training[0]).tobytes(), digest_size=8).hexdigest()

    def snapshot(self) -> bytes:
        """Training rows, digest and versions: 84 bytes a row with 17 features."""
        state: dict[str, Any] = {"version": self.n_updates, "problem": self._problem}
        if self._training is not None:
            features, correct, weight = self._training
            state |= {"digest": self.digest(), "libraries": LIBRARIES, "n_features": features.shape[1]}
            state |= {"features": features.tobytes(), "correct": correct.tobytes(), "weight": weight.tobytes()}
        return pack(self.kind, self.settings, state)

    @classmethod
    def restore(cls, settings: ClassifierSettings, state: dict[str, Any]) -> Refitted:
        """Fit again to the rows of the snapshot."""
        new = cls(settings)
        new.n_updates, new._problem = state["version"], state["problem"]
        if "features" in state:
            features = np.frombuffer(state["features"], dtype=np.float32).reshape(-1, state["n_features"])
            new._training = features, np.frombuffer(state["correct"]), np.frombuffer(state["weight"])
            new.n_labels = len(features)
            new._fit()
            new.fitted_with = state["libraries"]
            new.is_reproduced = new.digest() == state["digest"]
        return new


class ForestClassifier(Refitted):
    """A random forest of 100 trees with leaves of at least 5 rows, nothing balanced. The safest single choice."""

    kind = "random_forest"

    def fit(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        """Fit; scikit-learn's trees accept missing features."""
        forest: Any = RandomForestClassifier(N_TREES, min_samples_leaf=5, random_state=self.settings.seed)
        forest.fit(features, is_right, sample_weight=weight)
        return lambda x: np.asarray(forest.predict_proba(x)[:, 1], dtype=np.float64)


class PublishedForestClassifier(Refitted):
    """The published method (Entropy Sentinel, arXiv 2601.09001) as a classifier: balanced forest under a sigmoid.

    Every tree learns from as many right as wrong labels, drawn with replacement and by weight (Chen, Liaw and Breiman
    2004); the sigmoid (Platt 1999) is fitted to predictions made on five held-out folds.
    """

    kind = "published_forest"

    def fit(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        """Fit six forests: one a fold for the sigmoid, and one to all rows, which is kept."""
        held_out = np.empty(len(is_right))
        folds = StratifiedKFold(5, shuffle=True, random_state=self.settings.seed)
        for rest, fold in folds.split(features, is_right):
            held_out[fold] = self._trees(features[rest], is_right[rest], weight[rest])(features[fold])
        sigmoid: Any = SklearnLogisticRegression(C=np.inf).fit(held_out[:, None], is_right, sample_weight=weight)
        slope, intercept = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
        trees = self._trees(features, is_right, weight)
        return lambda x: np.asarray(expit(slope * trees(x) + intercept), dtype=np.float64)

    def _trees(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        rng = np.random.default_rng(self.settings.seed)
        sides = [np.flatnonzero(is_right == side) for side in (0, 1)]
        shares = [weight[side] / weight[side].sum() for side in sides]
        size = min(map(len, sides))
        trees: list[Any] = []
        for _ in range(N_TREES):
            drawn = np.concatenate([rng.choice(s, size, p=p) for s, p in zip(sides, shares, strict=True)])
            tree = DecisionTreeClassifier(max_features="sqrt", random_state=int(rng.integers(2**31)))
            trees.append(tree.fit(features[drawn], is_right[drawn]))
        return lambda x: np.add.reduce([tree.predict_proba(x)[:, 1] for tree in trees]) / len(trees)


class SparseLogisticRegression(Refitted):
    """Logistic regression with an L1 penalty on compressed, scaled features; an absent feature adds nothing."""

    kind = "sparse_logistic_regression"

    def fit(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        """Fit by liblinear; the prediction is a sum over one row, so it does not depend on other rows."""
        mean, scale = column_scaling(features)
        model: Any = SklearnLogisticRegression(
            l1_ratio=1, solver="liblinear", C=1.0, max_iter=1_000, random_state=self.settings.seed
        )
        model.fit(scaled(features, mean, scale), is_right, sample_weight=weight)
        coefficients, intercept = model.coef_[0].astype(np.float64), float(model.intercept_[0])
        return lambda x: np.asarray(expit((scaled(x, mean, scale) * coefficients).sum(axis=1) + intercept))


class GradientBoosting(Refitted):
    """Histogram gradient boosting: 100 trees of at most 15 leaves, learning rate 0.05."""

    kind = "gradient_boosting"

    def fit(self, features: Float32s, is_right: Float64s, weight: Float64s) -> Predict:
        """Fit without early stopping, which would hold back rows at random."""
        boosting: Any = HistGradientBoostingClassifier  # its type stub lacks early_stopping=False
        model = boosting(learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=self.settings.seed)
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
    """Mean and 1 / standard deviation of each column without its missing values; 0 for a constant column."""
    present = np.isfinite(features)
    x, n = np.where(present, features, 0).astype(np.float64), np.maximum(present.sum(axis=0), 1)
    mean = x.sum(axis=0) / n
    deviation = np.sqrt((np.where(present, x - mean, 0) ** 2).sum(axis=0) / n)
    return mean, np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9)


def scaled(features: Float32s, mean: Float64s, scale: Float64s) -> Float64s:
    """Standardised, clipped at five deviations; 0 where missing."""
    return np.nan_to_num(np.clip((features - mean) * scale, -5, 5), nan=0.0)
