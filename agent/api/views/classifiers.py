"""The classifiers of each context: stored versions, and how good published predictions were."""

from __future__ import annotations

from dataclasses import asdict

from driftgauge.agent.api.shapes import Question, Ratio, Shape
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.queries import StoreQueries


class Score(Shape):
    """How good the predictions of one classifier were, by labels that came after them."""

    classifier: str
    """`published`: the predictions as they were made; else a member of the committee."""
    domain: str | None
    """Null: over all domains."""
    n: int
    """Labels. Without any, everything else is null."""
    log_loss: float | None
    """Nats per label."""
    brier: Ratio
    """Mean squared error."""
    auroc: Ratio
    """The probability that a right response has a higher prediction than a wrong one."""
    calibration_error: Ratio
    """Mean difference between predicted and observed shares of right responses, over ten bins."""
    calibration_low: Ratio
    calibration_high: Ratio
    gap: float | None
    """Mean predicted minus mean observed; positive: too optimistic."""


class Version(Shape):
    """A stored version of a classifier."""

    number: int
    kind: str
    predicts: bool
    """Whether it predicts now."""
    n_labels: int
    """Labels that it was fitted to."""
    metric: Score
    """How good it was when it was stored."""
    digest: str
    reason: str
    """Why it was stored."""


class Classifiers(Shape):
    """The classifiers of one context."""

    fingerprint: str
    model: str
    versions: list[Version]
    scores: list[Score]
    """Of published predictions, over all domains and in each; then of each member. Only those with labels."""


class AllClassifiers(Shape):
    """The classifiers of each context, by fingerprint."""

    items: list[Classifiers]


def classifiers(queries: StoreQueries, _: Question, __: Known) -> AllClassifiers:
    """The classifiers of each context."""
    from driftgauge.agent.outlets.versions import contexts_in  # it takes a second and 100 MB

    return AllClassifiers(
        items=[_classifiers(fingerprint, parts) for fingerprint, parts in sorted(contexts_in(queries).items())]
    )


def _classifiers(fingerprint: str, parts: dict[str, bytes]) -> Classifiers:
    from driftgauge.agent.core.context_state import context_model
    from driftgauge.agent.outlets.versions import record_of, stored_versions

    return Classifiers(
        fingerprint=fingerprint,
        model=context_model(parts),
        versions=[Version.model_validate(version) for version in stored_versions({fingerprint: parts})],
        scores=[Score.model_validate(asdict(score)) for score in record_of(parts).metrics if score.n],
    )
