"""The table of classifiers, by the name of their kind. A new kind is one entry here, and its name in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from driftgauge.models.classify.classifier import Classifier, ClassifierSettings, unpack
from driftgauge.models.classify.online import AdaptiveRandomForest, LogisticRegression
from driftgauge.models.classify.refitted import (
    ForestClassifier,
    GradientBoosting,
    PublishedForestClassifier,
    SparseLogisticRegression,
)


class ClassifierType(Protocol):
    """What the class of a classifier offers: called with settings, it makes an untrained classifier."""

    def __call__(self, settings: ClassifierSettings) -> Classifier:
        """Make an untrained classifier."""
        ...

    def restore(self, settings: ClassifierSettings, state: dict[str, Any]) -> Classifier:
        """Make the classifier whose `Classifier.snapshot` holds this state."""
        ...


_TYPES: Mapping[str, ClassifierType] = {
    LogisticRegression.kind: LogisticRegression,
    AdaptiveRandomForest.kind: AdaptiveRandomForest,
    ForestClassifier.kind: ForestClassifier,
    PublishedForestClassifier.kind: PublishedForestClassifier,
    SparseLogisticRegression.kind: SparseLogisticRegression,
    GradientBoosting.kind: GradientBoosting,
}
KINDS: tuple[str, ...] = tuple(_TYPES)


def new_classifier(kind: str, settings: ClassifierSettings) -> Classifier:
    """Make an untrained classifier; ValueError for a kind that is not in the table.

    >>> new_classifier("random_forest", ClassifierSettings()).not_ready()
    'needs 10 labels of each kind, has 0 right and 0 wrong'
    """
    return _type_of(kind)(settings)


def restore_classifier(blob: bytes, settings: ClassifierSettings | None = None) -> Classifier:
    """Make the classifier that gave this snapshot, with the settings it was saved with or with these.

    Raises
    ------
    ValueError
        When the bytes are not a snapshot, or one of another format or of a kind that is not in the table.
    """
    kind, saved_settings, state = unpack(blob)
    try:
        return _type_of(kind).restore(settings or saved_settings, state)
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged snapshot of a {kind} classifier: {error!r}") from error


def _type_of(kind: str) -> ClassifierType:
    if kind not in _TYPES:
        raise ValueError(f"no classifier of kind {kind!r}; there are {', '.join(KINDS)}")
    return _TYPES[kind]
