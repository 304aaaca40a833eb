"""Rates of learning and predicting, compared with river one by one and with scikit-learn's ``partial_fit``.

All three predict each response before they learn its label, as a stream requires, and predict batches.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
from river.linear_model import LogisticRegression as RiverLogisticRegression
from river.preprocessing import StandardScaler as RiverScaler
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.online import OnlineRegression
from driftgauge.models.learn.committee import Committee, CommitteeSettings
from tests.benchmarks.timing import seconds

Result = dict[str, float | str]

N = 4_000
FEW = 1_000


def measure(many_labels: int = 1_000_000) -> dict[str, Result]:
    """Name -> value, unit, baseline (the other library's value) and ratio.

    ``many_labels``: length of the run that shows bounded memory (a million takes a minute or two).
    """
    features, correct = _labels(N)
    ones = np.ones(N)
    classifier = OnlineRegression()
    river, sgd = _River(), _PartialFit()
    learned, committee, river_learned, sgd_learned, sgd_batches = seconds(
        lambda: classifier.test_then_train(features, correct, ones),
        lambda: _one_by_one(features, correct),
        lambda: river.test_then_train(features, correct),
        lambda: sgd.test_then_train(features[:FEW], correct[:FEW]),
        lambda: sgd.learn_batches(features, correct),
    )
    predicted, river_predicted, sgd_predicted = seconds(
        lambda: classifier.predict_proba(features), lambda: river.predict(features), lambda: sgd.predict(features)
    )
    rate, growth = _long_run(many_labels)
    return {
        "learn_vs_river": _result(N / learned, "labels/s", N / river_learned),
        "learn_vs_sklearn_partial_fit": _result(N / learned, "labels/s", FEW / sgd_learned),
        "learn_vs_sklearn_partial_fit_256_at_once": _result(N / learned, "labels/s", N / sgd_batches),
        "committee_one_label_at_a_time_vs_river": _result(N / committee, "labels/s", N / river_learned),
        "predict_vs_river": _result(N / predicted, "responses/s", N / river_predicted),
        "predict_vs_sklearn": _result(N / predicted, "responses/s", N / sgd_predicted),
        "learn_many_labels": _result(rate, f"labels/s over {many_labels} labels", N / learned),
        "learn_many_labels_memory": _result(growth, f"MB grown over {many_labels} labels", 0.0),
    }


def _result(value: float, unit: str, baseline: float) -> Result:
    return {"value": value, "unit": unit, "baseline": baseline, "ratio": value / baseline if baseline else 0.0}


def _labels(n: int, seed: int = 0) -> tuple[Float32s, Float64s]:
    rng = np.random.default_rng(seed)
    features = rng.gamma(2.0, 1.0, size=(n, 17)).astype(np.float32)
    p = 1 / (1 + np.exp(features[:, 0] + features[:, 1] - 4))
    return features, (rng.random(n) < p).astype(np.float64)


class _River:
    """A pipeline of river as its documentation writes it, one response at a time."""

    def __init__(self) -> None:
        self.model: Any = RiverScaler() | RiverLogisticRegression()

    def test_then_train(self, features: Float32s, correct: Float64s) -> None:
        for row, c in zip(features.tolist(), correct.tolist(), strict=True):
            x = dict(enumerate(row))
            self.model.predict_proba_one(x)
            self.model.learn_one(x, bool(c))

    def predict(self, features: Float32s) -> list[Any]:
        return [self.model.predict_proba_one(dict(enumerate(row))) for row in features.tolist()]


class _PartialFit:
    """scikit-learn's scaler and SGD classifier, ``partial_fit`` on one response at a time."""

    def __init__(self) -> None:
        self.scaler, self.model = StandardScaler(), SGDClassifier(loss="log_loss")

    def test_then_train(self, features: Float32s, correct: Float64s) -> None:
        for i in range(len(features)):
            self.scaler.partial_fit(features[i : i + 1])
            x = self.scaler.transform(features[i : i + 1])
            if hasattr(self.model, "coef_"):
                self.model.predict_proba(x)
            self.model.partial_fit(x, correct[i : i + 1], classes=[0.0, 1.0])

    def learn_batches(self, features: Float32s, correct: Float64s) -> None:
        """Its intended use: 256 labels share one prediction and one scaling."""
        for i in range(0, len(features), 256):
            self.scaler.partial_fit(features[i : i + 256])
            self.model.partial_fit(self.scaler.transform(features[i : i + 256]), correct[i : i + 256], [0.0, 1.0])

    def predict(self, features: Float32s) -> Any:
        return self.model.predict_proba(self.scaler.transform(features))


def _one_by_one(features: Float32s, correct: Float64s) -> None:
    """Everything the agent does with a label except refits: score, calibrate, learn, one label per call."""
    committee = Committee(CommitteeSettings(gate_auroc=0.0))
    committee._refit_at = len(correct) + 1
    weight, p_at_arrival = np.ones(1), np.full(1, 0.5)
    for i in range(len(correct)):
        committee.score_and_learn(features[i : i + 1], correct[i : i + 1], weight, ["d"], p_at_arrival)


def _long_run(n: int) -> tuple[float, float]:
    """Labels per second, and megabytes by which the peak memory of the process grew after the first tenth."""
    classifier, batch = OnlineRegression(), 10_000
    start, before = time.perf_counter(), 0
    for i in range(0, n, batch):
        features, correct = _labels(batch, seed=i)
        classifier.test_then_train(features, correct, np.ones(batch))
        if i < n / 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return n / (time.perf_counter() - start), grown / 1024
