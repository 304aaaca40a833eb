"""The kinds of classifiers there are, by name: made new, or restored from a snapshot."""

from __future__ import annotations

from driftgauge.models.classify.classifier import Classifier, ClassifierSettings, unpack
from driftgauge.models.classify.online import AdaptiveRandomForest, LogisticRegression
from driftgauge.models.classify.refitted import (
    ForestClassifier,
    GradientBoosting,
    PublishedForestClassifier,
    Refitted,
    SparseLogisticRegression,
)

_KINDS = (
    LogisticRegression,
    AdaptiveRandomForest,
    ForestClassifier,
    PublishedForestClassifier,
    SparseLogisticRegression,
    GradientBoosting,
)
KINDS: tuple[str, ...] = tuple(kind.kind for kind in _KINDS)


def new_classifier(kind: str, settings: ClassifierSettings) -> Classifier:
    """Make an untrained classifier; ValueError for a kind that does not exist.

    >>> new_classifier("random_forest", ClassifierSettings()).not_ready()
    'needs 10 labels of each kind, has 0 right and 0 wrong'
    """
    return _known(kind)(settings)


def restore_classifier(blob: bytes, settings: ClassifierSettings | None = None) -> Classifier:
    """Make the classifier that gave this snapshot, with its settings or with these; ValueError for anything else."""
    kind, its_own, state = unpack(blob)
    try:
        return _known(kind).restore(settings or its_own, state)
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged snapshot of a {kind} classifier: {error!r}") from error


def _known(wanted: str) -> type[LogisticRegression | AdaptiveRandomForest | Refitted]:
    for kind in _KINDS:
        if kind.kind == wanted:
            return kind
    raise ValueError(f"no classifier of kind {wanted!r}; there are {', '.join(KINDS)}")
