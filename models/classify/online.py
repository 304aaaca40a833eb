"""The classifier that learns from every label, and bridges the time to the next fit: river's logistic regression.

river's objects do the learning, one label at a time; memory does not grow with the number of labels. A missing feature
is a key that is absent. A soft label c in [0, 1] is learned as a right one of weight c and a wrong one of weight
1 - c. Weights (1 / inclusion probability) count relative to their running mean, at most `MAX_WEIGHT` times it, so that
one heavy label cannot undo many others.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from scipy.special import expit

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.labelled_rows import LabelCount, check_labels, compressed
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.feature_sets import in_width, shared_columns

Features: TypeAlias = dict[int, float]

SNAPSHOT = SavedFormat("classifier", (lambda numbered: numbered[1:],), since="0.2.0")
_KIND = "logistic_regression"

MAX_WEIGHT = 10.0
MAX_DEVIATIONS = 5.0
"""Scaled features are clipped here and, from the 31st label on, features before they move the scaling: one absurd
response must not undo the effect of a thousand labels."""


class OnlineRegression:
    """river's StandardScaler and LogisticRegression, on features compressed by `compressed`.

    SGD with learning rate 0.2 / t^0.3; predictions use the weights averaged over about the last fifth of the labels
    (Polyak and Juditsky 1992), which takes out most of the jitter that the newest labels cause. With
    ``memory_labels`` = m, the learning rate and the share of a new value in scaling and average never fall below
    their values at the m-th label, so older labels fade. Learning costs about 50 µs a label. Prediction is
    vectorised over arrays that are kept until the next label.

    Parameters
    ----------
    min_labels : right labels, and as many wrong ones, before the first prediction; a soft label counts in part as each
    memory_labels : labels older than about this many fade; None: all count alike

    Examples
    --------
    >>> entropy = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    >>> classifier = OnlineRegression()
    >>> classifier.not_ready()
    'needs 10 labels of each kind, has 0 right and 0 wrong'
    >>> _ = classifier.test_then_train(entropy, (entropy[:, 0] < 0.5).astype(float), np.ones(100))
    >>> bool(np.diff(classifier.predict_proba(entropy)).max() < 0)
    True
    """

    def __init__(self, min_labels: int = 10, memory_labels: int | None = 5_000) -> None:
        self.min_labels = min_labels
        self.memory_labels = memory_labels
        self.count = LabelCount()
        self.weights_seen = 0.0
        self.n_features: int | None = None
        self.scaler, self.model = _untrained()
        self.average: Features = {}
        self.average_intercept = 0.0
        self._arrays: tuple[Float64s, Float64s, Float64s] | None = None

    @property
    def n_labels(self) -> int:
        """Number of labels learned."""
        return self.count.n

    def not_ready(self) -> str | None:
        """Why there is no prediction yet."""
        return self.count.missing(self.min_labels)

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct), (n,); NaN while not ready.

        An absent feature adds nothing, as in river; a row without features gets the intercept.
        """
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

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """(n,) P(correct) of n responses in order, each predicted before its label is learned; NaN while not ready.

        Parameters
        ----------
        features, correct, weight : (n, d), (n,) and (n,); ValueError for labels that `check_labels` refuses
        """
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
                self.model.learn_one(scaled, is_right, w=share * relative)
        self.scaler.learn_one(x)
        self._average()
        self._forget(x)
        return p

    def _predict_one(self, scaled: Features) -> float:
        z = sum(self.average.get(j, 0.0) * value for j, value in scaled.items()) + self.average_intercept
        return float(self.model.loss.mean_func(z))

    def _average(self) -> None:
        n, average = min(self.count.n, self.memory_labels or self.count.n), self.average
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
        memory, counts = self.memory_labels, self.scaler.counts
        if memory is not None and self.count.n > memory:
            self.model.optimizer.n_iterations = min(self.model.optimizer.n_iterations, memory)
            for j in x:
                if counts[j] > memory:
                    counts[j] = memory

    def snapshot(self) -> bytes:
        """Counts, scaling, weights: a few kilobytes."""
        settings = {"min_labels": self.min_labels, "memory_labels": self.memory_labels}
        return SNAPSHOT.pack([_KIND, settings, {
            "count": [self.count.n, self.count.right, self.count.wrong],
            "weights_seen": self.weights_seen,
            "n_features": self.n_features,
            "scaler": [list(part.items()) for part in (self.scaler.counts, self.scaler.means, self.scaler.vars)],
            "average": [self.average_intercept, list(self.average.items())],
            "model": [self.model.intercept, self.model.optimizer.n_iterations, list(self.model.weights.items())],
        }])  # fmt: skip

    @classmethod
    def restore(cls, blob: bytes, min_labels: int = 10, memory_labels: int | None = 5_000) -> OnlineRegression:
        """Make the classifier that gave this snapshot, with these settings; ValueError for any other bytes."""
        kind, _, state = SNAPSHOT.unpack(blob, tuple[str, dict[str, Any], dict[str, Any]])
        if kind != _KIND:
            raise ValueError(f"a snapshot of a {kind} classifier, not of a {_KIND}")
        try:
            return cls(min_labels, memory_labels)._with(state)
        except (KeyError, TypeError) as error:
            raise ValueError(f"damaged snapshot of a {_KIND} classifier: {error!r}") from error

    def _with(self, state: dict[str, Any]) -> OnlineRegression:
        self.count = LabelCount(*state["count"])
        self.weights_seen, self.n_features = state["weights_seen"], state["n_features"]
        for part, items in zip((self.scaler.counts, self.scaler.means, self.scaler.vars), state["scaler"], strict=True):
            for j, value in items:
                part[j] = value
        self.average_intercept, average = state["average"]
        self.average = dict(map(tuple, average))
        self.model.intercept, self.model.optimizer.n_iterations, weights = state["model"]
        _set_weights(self.model, dict(map(tuple, weights)))
        return self


def _untrained() -> tuple[Any, Any]:
    """River's scaler and model; it takes a second to import, which commands that learn nothing need not wait for."""
    from river.linear_model import LogisticRegression
    from river.optim import SGD
    from river.optim.schedulers import InverseScaling
    from river.preprocessing import StandardScaler

    rate = InverseScaling(0.2, 0.3)
    return StandardScaler(), LogisticRegression(optimizer=SGD(rate), intercept_lr=rate)


def _present(row: list[float]) -> Features:
    """A row as river takes it: without the missing features (NaN is not equal to itself)."""
    return {j: x for j, x in enumerate(row) if x == x}


def _set_weights(model: Any, weights: Features) -> None:
    """Give river's logistic regression saved weights, through a private attribute (docs/dependencies.md).

    river has a public property to read the weights, and none to set them.
    """
    from river.utils import VectorDict

    model._weights = VectorDict(weights)
