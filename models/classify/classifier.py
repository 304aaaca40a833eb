"""What every correctness classifier promises: arrays in, arrays out, one label at a time in meaning.

A classifier turns the features of a response into the probability that the response is correct. It owns its
parameters and nothing else; its memory does not grow with the number of labels. It is used by one context
fingerprint, so all its rows were measured in the same way. Features are (n, d) float32, NaN (and ±inf) where absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import msgspec
import numpy as np

from driftgauge.models.arrays import Float32s, Float64s

Imbalance: TypeAlias = Literal["keep", "balance"]


class Classifier(Protocol):
    """One way to tell right responses from wrong ones."""

    kind: ClassVar[str]

    @property
    def version(self) -> int:
        """Grows whenever what `predict_proba` returns may have changed."""
        ...

    @property
    def n_labels(self) -> int:
        """Labels behind the present parameters."""
        ...

    def not_ready(self) -> str | None:
        """Why there is no prediction yet, in words; None when there is one."""
        ...

    def predict_proba(self, features: Float32s) -> Float64s:
        """P(correct) of n responses, (n,); NaN while not ready. A row's value does not depend on the other rows."""
        ...

    def learn(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        """Take n labels in order; where one call ends and the next begins makes no difference, to the bit.

        ``correct`` is in [0, 1], ``weight`` positive. Anything else is a ValueError, and nothing was learned.
        """
        ...

    def test_then_train(self, features: Float32s, correct: Float64s, weight: Float64s) -> Float64s:
        """`learn`, and return what it would have predicted for each response just before its label, (n,)."""
        ...

    def snapshot(self) -> bytes:
        """State as versioned MessagePack of plain values."""
        ...


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """What all kinds of classifier have in common.

    Attributes
    ----------
    min_labels : labels of each kind (right, wrong) before the first prediction; soft labels count in parts
    memory_labels : labels older than about this many fade (see each kind); None: never forget
    imbalance : ``balance`` gives right and wrong labels the same total weight, ``keep`` leaves them as they come
    seed : of everything that is drawn by chance
    """

    min_labels: int = 10
    memory_labels: int | None = 5_000
    imbalance: Imbalance = "keep"
    seed: int = 0


@dataclass(slots=True)
class LabelCount:
    """How many labels were taken, and how much of them was right and wrong."""

    n: int = 0
    right: float = 0.0
    wrong: float = 0.0

    def add(self, correct: float) -> None:
        """Count one label; a soft one counts in parts."""
        self.n += 1
        self.right += correct
        self.wrong += 1 - correct

    def missing(self, min_labels: int) -> str | None:
        """What is missing before a classifier can say anything.

        >>> LabelCount(7, right=7.0).missing(10)
        'needs 10 labels of each kind, has 7 right and 0 wrong'
        """
        if min(self.right, self.wrong) >= min_labels:
            return None
        return f"needs {min_labels} labels of each kind, has {self.right:.4g} right and {self.wrong:.4g} wrong"

    def balance(self, is_right: bool) -> float:
        """Weight that makes both kinds count the same in total, by the labels so far; between 1/10 and 10."""
        mine = self.right if is_right else self.wrong
        return min(max((self.right + self.wrong) / (2 * mine), 0.1), 10.0) if mine else 1.0


def check_labels(features: Float32s, correct: Float64s, weight: Float64s, n_features: int | None) -> None:
    """Raise ValueError unless these are n labels with n rows of the expected width."""
    if features.ndim != 2 or len(features) != len(correct) or len(features) != len(weight):
        shapes = features.shape, np.shape(correct), np.shape(weight)
        raise ValueError(f"features, correct and weight must be (n, d), (n,) and (n,), not {shapes}")
    check_width(features, n_features)
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError("correct must lie in [0, 1]")
    if not ((weight > 0) & (weight < np.inf)).all():
        raise ValueError("weight must be positive and finite")


def check_width(features: Float32s, n_features: int | None) -> None:
    """Raise ValueError when rows have another number of features than those learned from."""
    if n_features is not None and features.shape[1] != n_features:
        raise ValueError(f"this classifier learned from {n_features} features, not {features.shape[1]}")


def compressed(features: Float32s) -> Float64s:
    """sign(x) · ln(1 + |x|) of every feature: sums, kurtosis and perplexity have tails that no linear model survives.

    Small values stay as they are; beyond ±12 (a feature of 160,000) all are the same. ±inf becomes NaN: it is not a
    measurement.

    >>> compressed(np.array([[0.0, -1.0, 3e38, np.inf]], dtype=np.float32)).round(3).tolist()
    [[0.0, -0.693, 12.0, nan]]
    """
    x = features.astype(np.float64)
    x[np.isinf(x)] = np.nan
    return np.copysign(np.minimum(np.log1p(np.abs(x)), 12.0), x)


def pack(kind: str, settings: ClassifierSettings, state: dict[str, Any]) -> bytes:
    """Snapshot of a classifier: format version, kind, settings and state."""
    return msgspec.msgpack.encode([FORMAT, kind, settings, state])


def unpack(blob: bytes) -> tuple[str, ClassifierSettings, dict[str, Any]]:
    """Take apart what `pack` made; ValueError for anything else."""
    try:
        version, kind, settings, state = msgspec.msgpack.decode(
            blob, type=tuple[int, str, ClassifierSettings, dict[str, Any]]
        )
    except msgspec.DecodeError as error:
        raise ValueError(f"not a classifier snapshot: {error}") from error
    if version != FORMAT:
        raise ValueError(f"classifier snapshot of format {version}; this version reads format {FORMAT}")
    return kind, settings, state


FORMAT = 1
