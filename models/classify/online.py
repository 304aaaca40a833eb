"""Classifiers that learn from every label: river's logistic regression and river's adaptive random forest.

river's objects do the learning, one label at a time. A missing feature is a key that is absent. A soft label
c in [0, 1] is learned as a right one of weight c and a wrong one of weight 1 - c. Weights (1 / inclusion probability)
count relative to their running mean, at most `MAX_WEIGHT` times it, so that one heavy label cannot undo many others.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeAlias

import numpy as np
from river.forest import ARFClassifier
from river.linear_model import LogisticRegression as RiverLogisticRegression
from river.optim import SGD
from river.optim.schedulers import InverseScaling
from river.preprocessing import StandardScaler
from river.utils import VectorDict
from scipy.special import expit

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.classifier import (
    ClassifierSettings,
    LabelCount,
    check_labels,
    compressed,
    pack,
)
from driftgauge.models.signals.feature_sets import in_width, shared_columns

Features: TypeAlias = dict[int, float]

MAX_WEIGHT = 10.0
MAX_DEVIATIONS = 5.0
"""Scaled features are clipped here and, from the 31st label on, features before they move the scaling: one absurd
response must not undo the effect of a thousand labels."""


class LogisticRegression:
    """river's StandardScaler and LogisticRegression, on features compressed by `compressed`.

    SGD with learning rate 0.2 / t^0.3; predictions use the weights averaged over about the last fifth of the labels
    (Polyak and Juditsky 1992), which takes out most of the jitter that the newest labels cause. With
    ``memory_labels`` = m, the learning rate and the share of a new value in scaling and average never fall below
    their values at the m-th label, so older labels fade. Learning costs about 50 µs a label. Prediction is
    vectorised over arrays that are kept until the next label.

    Examples
    --------
    >>> entropy = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    >>> classifier = LogisticRegression(ClassifierSettings())
    >>> classifier.not_ready()
    'needs 10 labels of each kind, has 0 right and 0 wrong'
    >>> classifier.learn(entropy, (entropy[:, 0] < 0.5).astype(float), np.ones(100))
    >>> bool(np.diff(classifier.predict_proba(entropy)).max() < 0)
    True
    """

    kind: ClassVar[str] = "logistic_regression"

    def __init__(self, settings: ClassifierSettings) -> None:
        self.settings = settings
        self.count = LabelCount()
        self.weights_seen = 0.0
        self.n_features: int | None = None
        rate = InverseScaling(0.2, 0.3)
        self.scaler: Any = StandardScaler()
        self.model: Any = RiverLogisticRegression(optimizer=SGD(rate), intercept_lr=rate)
        self.average: Features = {}
        self.average_intercept = 0.0
        self._arrays: tuple[Float64s, Float64s, Float64s] | None = None

    @property
    def n_updates(self) -> int:
        """Number of labels learned."""
        return self.count.n

    @property
    def n_labels(self) -> int:
        """Number of labels learned."""
        return self.count.n

    def not_ready(self) -> str | None:
        """Why there is no prediction yet."""
        return self.count.missing(self.settings.min_labels)

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct), (n,). An absent feature adds nothing, as in river; a row without features gets the intercept."""
        if self.n_features is None or self.not_ready():
            return np.full(len(features), np.nan)
        features = in_width(features, self.n_features)
        mean, scale, weights = self._arrays = self._arrays or self._read_arrays()
        scaled = np.clip((compressed(features) - mean) * scale, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        # no matrix product: BLAS rounds a row differently depending on how many others come with it
        terms = scaled * weights
        terms[np.isnan(terms)] = 0.0
        return np.asarray(expit(terms.sum(axis=1) + self.average_intercept), dtype=np.float64)

    def _read_arrays(self) -> tuple[Float64s, Float64s, Float64s]:
        columns, variances = range(self.n_features or 0), self.scaler.vars
        scale = [variances[j] ** -0.5 if variances.get(j) else 0.0 for j in columns]
        mean = [self.scaler.means.get(j, 0.0) for j in columns]
        return np.array(mean), np.array(scale), np.array([self.average.get(j, 0.0) for j in columns])

    def learn(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Learn from the labels in order, one at a time."""
        self.test_then_train(features, correct, weight)

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """Predict each response, then learn from its label."""
        check_labels(features, correct, weight, self.n_features)
        self._take_columns(features.shape[1])
        self._arrays = None
        labels = zip(compressed(features).tolist(), correct.tolist(), weight.tolist(), strict=True)
        return np.array([self._take(_present(row), c, w) for row, c, w in labels])

    def _take_columns(self, width: int) -> None:
        """Bring the state to another set of features: new columns were absent from every row so far, others leave."""
        if self.n_features not in (None, width):
            place = dict(zip(*shared_columns(self.n_features, width), strict=True))
            for part in (self.scaler.counts, self.scaler.means, self.scaler.vars, self.average):
                kept = {place[j]: value for j, value in part.items() if j in place}
                part.clear()
                part.update(kept)
            _set_weights(self.model, {place[j]: value for j, value in self.model.weights.items() if j in place})
        self.n_features = width

    def _take(self, x: Features, correct: float, weight: float) -> float:
        scaled = self.scaler.transform_one(x)
        x, scaled = self._clipped(x, scaled)
        p = math.nan if self.not_ready() else self._predict_one(scaled)
        self.count.add(correct)
        self.weights_seen += weight
        relative = min(weight * self.count.n / self.weights_seen, MAX_WEIGHT)
        for is_right, share in ((True, correct), (False, 1 - correct)):
            if share:
                balance = self.count.balance(is_right) if self.settings.imbalance == "balance" else 1.0
                self.model.learn_one(scaled, is_right, w=share * relative * balance)
        self.scaler.learn_one(x)
        self._average()
        self._forget(x)
        return p

    def _predict_one(self, scaled: Features) -> float:
        z = sum(self.average.get(j, 0.0) * value for j, value in scaled.items()) + self.average_intercept
        return float(self.model.loss.mean_func(z))

    def _average(self) -> None:
        n, average = min(self.count.n, self.settings.memory_labels or self.count.n), self.average
        share = 6 / (5 + n)
        for j, weight in self.model.weights.items():
            before = average.get(j, 0.0)
            average[j] = before + (weight - before) * share
        self.average_intercept += (self.model.intercept - self.average_intercept) * share

    def _clipped(self, x: Features, scaled: Features) -> tuple[Features, Features]:
        far = [j for j, z in scaled.items() if not -MAX_DEVIATIONS <= z <= MAX_DEVIATIONS]
        for j in far:
            scaled[j] = math.copysign(MAX_DEVIATIONS, scaled[j])
            if self.count.n > 30:
                x[j] = self.scaler.means[j] + scaled[j] * self.scaler.vars[j] ** 0.5
        return x, scaled

    def _forget(self, x: Features) -> None:
        memory, counts = self.settings.memory_labels, self.scaler.counts
        if memory is not None and self.count.n > memory:
            self.model.optimizer.n_iterations = min(self.model.optimizer.n_iterations, memory)
            for j in x:
                if counts[j] > memory:
                    counts[j] = memory

    def snapshot(self) -> bytes:
        """Counts, scaling, weights: a few kilobytes."""
        return pack(self.kind, self.settings, {
            "count": [self.count.n, self.count.right, self.count.wrong],
            "weights_seen": self.weights_seen,
            "n_features": self.n_features,
            "scaler": [list(part.items()) for part in (self.scaler.counts, self.scaler.means, self.scaler.vars)],
            "average": [self.average_intercept, list(self.average.items())],
            "model": [self.model.intercept, self.model.optimizer.n_iterations, list(self.model.weights.items())],
        })  # fmt: skip

    @classmethod
    def restore(cls, settings: ClassifierSettings, state: dict[str, Any]) -> LogisticRegression:
        """Make the classifier that gave this state."""
        new = cls(settings)
        new.count = LabelCount(*state["count"])
        new.weights_seen, new.n_features = state["weights_seen"], state["n_features"]
        for part, items in zip((new.scaler.counts, new.scaler.means, new.scaler.vars), state["scaler"], strict=True):
            for j, value in items:
                part[j] = value
        new.average_intercept, average = state["average"]
        new.average = dict(map(tuple, average))
        new.model.intercept, new.model.optimizer.n_iterations, weights = state["model"]
        _set_weights(new.model, dict(map(tuple, weights)))
        return new


class AdaptiveRandomForest:
    """river's adaptive random forest: Hoeffding trees, each with drift detectors.

    Its state has no plain form, so it is defined by labels: it keeps the last `KEEP` to 2 · `KEEP` of them and is
    restored by learning them again. When 2 · `KEEP` are held, a new forest learns the last `KEEP` and the older labels
    are forgotten (``memory_labels``, when smaller, takes the place of `KEEP`). Learning costs 1 to 2 ms a label, and
    every `KEEP` labels the held labels are learned again. A label of weight w is learned w times; a fraction is
    rounded at random.
    """

    kind: ClassVar[str] = "adaptive_random_forest"
    KEEP: ClassVar[int] = 2_000

    def __init__(self, settings: ClassifierSettings) -> None:
        self.settings = settings
        self.keep = min(settings.memory_labels or self.KEEP, self.KEEP)
        self.count = LabelCount()
        self.weights_seen = 0.0
        self.n_features: int | None = None
        self.held: list[tuple[bytes, float, float]] = []  # raw features, correct, relative weight

    def _start(self) -> None:
        self.forest: Any = ARFClassifier(seed=self.settings.seed)
        # the first row that river sees decides how many features a split considers; the first label may lack some
        self.forest.predict_proba_one(dict.fromkeys(range(self.n_features or 0), 0.0))
        self.draws = np.random.default_rng(self.settings.seed)

    @property
    def n_updates(self) -> int:
        """Number of labels learned."""
        return self.count.n

    @property
    def n_labels(self) -> int:
        """Number of labels that the present forest has learned."""
        return len(self.held)

    def not_ready(self) -> str | None:
        """Why there is no prediction yet."""
        return self.count.missing(self.settings.min_labels)

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct), (n,); about 0.15 ms a row."""
        if self.n_features is None or self.not_ready():
            return np.full(len(features), np.nan)
        rows = compressed(in_width(features, self.n_features)).tolist()
        votes = [self.forest.predict_proba_one(_present(row)) for row in rows]
        return np.array([vote.get(True, 0.0) if vote else 0.5 for vote in votes])

    def learn(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Learn from the labels in order, one at a time."""
        check_labels(features, correct, weight, self.n_features)
        self._take_columns(features.shape[1])
        rows = np.ascontiguousarray(features, dtype=np.float32)
        for row, c, w in zip(rows, correct.tolist(), weight.tolist(), strict=True):
            self.count.add(c)
            self.weights_seen += w
            relative = min(w * self.count.n / self.weights_seen, MAX_WEIGHT)
            if self.settings.imbalance == "balance":
                relative *= c * self.count.balance(is_right=True) + (1 - c) * self.count.balance(is_right=False)
            self._hold(row.tobytes(), c, relative)

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """Predict each response, then learn from its label."""
        predicted = np.full(len(correct), np.nan)
        for i in range(len(correct)):
            one = slice(i, i + 1)
            predicted[one] = self.predict_proba(features[one])
            self.learn(features[one], correct[one], weight[one])
        return predicted

    def _take_columns(self, width: int) -> None:
        """Bring the held labels to another set of features, and learn them again."""
        is_another = self.n_features not in (None, width)
        if is_another:
            rows = in_width(_table(self.held), width)
            self.held = [(row.tobytes(), c, w) for row, (_, c, w) in zip(rows, self.held, strict=True)]
        self.n_features = width
        if is_another:
            self._start()
            self._replay(self.held)

    def _hold(self, row: bytes, correct: float, weight: float) -> None:
        if not self.held:
            self._start()
        if len(self.held) == 2 * self.keep:
            del self.held[: self.keep]
            self._start()
            self._replay(self.held)
        self.held.append((row, correct, weight))
        self._replay(self.held[-1:])

    def _replay(self, labels: list[tuple[bytes, float, float]]) -> None:
        for row, (_, correct, weight) in zip(compressed(_table(labels)).tolist(), labels, strict=True):
            is_right, extra = self.draws.random(2) < (correct, weight % 1)
            for _ in range(int(weight) + int(extra)):
                self.forest.learn_one(_present(row), bool(is_right))

    def snapshot(self) -> bytes:
        """The labels held: 80 bytes each with 17 features."""
        return pack(self.kind, self.settings, {
            "count": [self.count.n, self.count.right, self.count.wrong],
            "weights_seen": self.weights_seen,
            "n_features": self.n_features,
            "held": self.held,
        })  # fmt: skip

    @classmethod
    def restore(cls, settings: ClassifierSettings, state: dict[str, Any]) -> AdaptiveRandomForest:
        """Make the classifier that gave this state, by learning its labels again (seconds)."""
        new = cls(settings)
        new.count = LabelCount(*state["count"])
        new.weights_seen, new.n_features = state["weights_seen"], state["n_features"]
        new.held = [(row, correct, weight) for row, correct, weight in state["held"]]
        if new.held:
            new._start()
            new._replay(new.held)
        return new


def _table(labels: list[tuple[bytes, float, float]]) -> Float32s:
    """The features of held labels."""
    return np.frombuffer(b"".join(row for row, _, _ in labels), dtype=np.float32).reshape(len(labels), -1)


def _present(row: list[float]) -> Features:
    """A row as river takes it: without the missing features (NaN is not equal to itself)."""
    return {j: x for j, x in enumerate(row) if x == x}


def _set_weights(model: Any, weights: Features) -> None:
    """Give river's logistic regression saved weights, through a private attribute (docs/dependencies.md).

    river has a public property to read the weights, and none to set them.
    """
    model._weights = VectorDict(weights)
