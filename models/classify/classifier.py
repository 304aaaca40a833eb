"""The protocol of correctness classifiers, and what all of them share.

A classifier turns the features of a response into the probability that the response is correct. Calls take arrays, but
labels have the effect of being learned one at a time. A classifier owns its parameters and nothing else; its memory
does not grow with the number of labels. It belongs to one context fingerprint, so all its rows were measured in the
same way. Features are (n, d) float32, NaN (and ±inf) where absent. Rows of another set of features than a classifier
learned from are read by the names of their columns (`feature_sets.in_width`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.feature_sets import shared_columns

Imbalance: TypeAlias = Literal["keep", "balance"]

SNAPSHOT = SavedFormat("classifier", (lambda numbered: numbered[1:],), since="0.2.0")


class Classifier(Protocol):
    """Predicts whether responses are correct, from their features."""

    kind: ClassVar[str]

    @property
    def n_updates(self) -> int:
        """Updates of the parameters so far; unchanged while `predict_proba` returns the same for the same row."""
        ...

    @property
    def n_labels(self) -> int:
        """Labels that the present parameters were learned from."""
        ...

    def not_ready(self) -> str | None:
        """Why there is no prediction yet, in words; None when there is one."""
        ...

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct) of n responses, (n,); NaN while not ready. The value of a row does not depend on other rows."""
        ...

    def learn(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Take n labels in order. Splitting them over several calls gives the same parameters, to the bit.

        Parameters
        ----------
        features, correct, weight : (n, d), (n,) in [0, 1], (n,) positive

        Raises
        ------
        ValueError
            For other shapes or values. Nothing was learned.
        """
        ...

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """`learn`, and return the prediction for each response just before its label was learned, (n,)."""
        ...

    def snapshot(self) -> bytes:
        """State as MessagePack of plain values, with a format number."""
        ...


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """Settings that all kinds of classifiers have.

    Attributes
    ----------
    min_labels : right labels, and as many wrong ones, before the first prediction; a soft label counts in part as each
    memory_labels : labels older than about this many fade (see each kind); None: never forget
    imbalance : ``balance`` gives right and wrong labels the same total weight, ``keep`` leaves them as they come
    seed : of everything drawn at random
    """

    min_labels: int = 10
    memory_labels: int | None = 5_000
    imbalance: Imbalance = "keep"
    seed: int = 0


@dataclass(slots=True)
class LabelCount:
    """Number of labels taken, and the sums of their right and wrong parts."""

    n: int = 0
    right: float = 0.0
    wrong: float = 0.0

    def add(self, correct: float) -> None:
        """Count one label; a soft label counts in part as right and in part as wrong."""
        self.n += 1
        self.right += correct
        self.wrong += 1 - correct

    def missing(self, min_labels: int) -> str | None:
        """Which labels are missing before a classifier can predict; None when none are.

        >>> LabelCount(7, right=7.0).missing(10)
        'needs 10 labels of each kind, has 7 right and 0 wrong'
        """
        if min(self.right, self.wrong) >= min_labels:
            return None
        return f"needs {min_labels} labels of each kind, has {self.right:.4g} right and {self.wrong:.4g} wrong"

    def balance(self, is_right: bool) -> float:
        """Weight in [1/10, 10] that makes right and wrong labels count the same in total, by the labels so far."""
        total = self.right if is_right else self.wrong
        return min(max((self.right + self.wrong) / (2 * total), 0.1), 10.0) if total else 1.0


def check_labels(features: Float32s, correct: Float64s, weight: Float64s, n_features: int | None) -> None:
    """Raise ValueError unless these are n labels with n rows that can be read as rows of ``n_features`` (None: any)."""
    if features.ndim != 2 or len(features) != len(correct) or len(features) != len(weight):
        shapes = features.shape, np.shape(correct), np.shape(weight)
        raise ValueError(f"features, correct and weight must be (n, d), (n,) and (n,), not {shapes}")
    if n_features not in (None, features.shape[1]):
        shared_columns(features.shape[1], n_features)
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError("correct must lie in [0, 1]")
    if not ((weight > 0) & (weight < np.inf)).all():
        raise ValueError("weight must be positive and finite")


def compressed(features: Float32s) -> Float64s:
    """sign(x) · ln(1 + |x|) of every feature: the tails of sums, kurtosis and perplexity would dominate linear models.

    Small values change little. The result is cut at ±12, which a feature of 160,000 reaches. ±inf becomes NaN, because
    it is not a measurement.

    >>> compressed(np.array([[0.0, -1.0, 3e38, np.inf]], dtype=np.float32)).round(3).tolist()
    [[0.0, -0.693, 12.0, nan]]
    """
    x = features.astype(np.float64)
    x[np.isinf(x)] = np.nan
    return np.copysign(np.minimum(np.log1p(np.abs(x)), 12.0), x)


def pack(kind: str, settings: ClassifierSettings, state: dict[str, Any]) -> bytes:
    """Snapshot of a classifier: kind, settings and state."""
    return SNAPSHOT.pack([kind, settings, state])


def unpack(blob: bytes) -> tuple[str, ClassifierSettings, dict[str, Any]]:
    """Kind, settings and state from what `pack` made; ValueError for anything else."""
    kind, settings, state = SNAPSHOT.unpack(blob, tuple[str, ClassifierSettings, dict[str, Any]])
    return kind, settings, state
