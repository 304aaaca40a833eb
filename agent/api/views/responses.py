"""Single responses with their predictions and labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.shapes import Moment, Name, Page, Paged, Question, Ratio, Shape, Span, cursor, place_of
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.responses import (
    Detail,
    Listed,
    Place,
    ResponseFilter,
    find_response,
    list_responses,
)
from driftgauge.models.events import AnnotatorKind, Label
from driftgauge.models.signals.feature_sets import LAYOUTS


class ResponsesQuestion(Paged, Span):
    """Which responses to list."""

    domain: Name | None = None
    """Only of this domain."""
    fingerprint: Name | None = None
    """Only of this context."""
    labelled: bool | None = None
    """Only those with a label, or only those without."""
    min_p_correct: Annotated[float | None, Field(ge=0, le=1)] = None
    """Only those predicted to be right with at least this probability."""
    max_p_correct: Annotated[float | None, Field(ge=0, le=1)] = None
    """Only those predicted to be right with at most this probability."""


class ResponseQuestion(Question):
    """Which response is asked about."""

    id: Name
    """The id of the response."""
    text: bool = False
    """Give the text too, where the store keeps it."""


class Response(Shape):
    """A response with its prediction and its label."""

    response_id: str
    event_time: Moment
    domain: str
    fingerprint: str
    p_correct: Ratio
    """The probability that it is right, predicted when it arrived; null without a prediction."""
    correct: Ratio
    """The resolved label; null without one."""
    weight: float | None
    """Of the label: 1 / the probability with which the response was drawn, 1 where that is unknown. 0: the label does
    not count in estimates. Null without a label."""
    label_kind: Literal["designed", "unknown", "withdrawn"] | None
    """`designed` when the probability with which the response was drawn is known; null before the first label."""
    n_tokens: int
    finish_reason: str | None
    classifier_version: int | None
    """The number of the version that made the prediction; null without a prediction."""
    slices: dict[str, str]


class Responses(Page[Response]):
    """Responses, the newest first. A page may have fewer items than asked for and still a next page."""


class ResponseLabel(Shape):
    """A label event of a response."""

    label_id: str
    correct: Ratio
    """Null withdraws a label."""
    event_time: Moment
    annotator_kind: AnnotatorKind
    source: str | None
    inclusion_probability: Ratio


class ResponseDetail(Response):
    """A response with everything that is kept of it."""

    features: dict[str, float | None]
    """By name; null where a feature could not be computed."""
    labels: list[ResponseLabel]
    """Its newest label events, at most 100, oldest first; also corrections and withdrawals."""
    text: str | None
    """Null unless the store keeps texts and the question asks for it."""


def responses(queries: StoreQueries, question: ResponsesQuestion, _: Known) -> Responses:
    """Responses, the newest first."""
    wanted = ResponseFilter(
        domain=question.domain,
        fingerprint=question.fingerprint,
        start=question.start,
        end=question.end,
        is_labelled=question.labelled,
        min_p_correct=question.min_p_correct,
        max_p_correct=question.max_p_correct,
        before=place_of(question.after, Place) if question.after else None,
        limit=question.limit,
    )
    found = list_responses(queries, wanted)
    return Responses(
        items=[Response.model_validate(_fields(listed)) for listed in found.responses],
        next=None if found.last is None else cursor(*found.last),
    )


def response(queries: StoreQueries, question: ResponseQuestion, _: Known) -> ResponseDetail:
    """One response."""
    found = find_response(queries, question.id)
    if found is None:
        raise Problem(404, "no response with this id is stored")
    return ResponseDetail.model_validate(
        {
            **_fields(found.listed),
            "features": _features(found),
            "labels": [_label(label) for label in found.labels],
            "text": found.text if question.text else None,
        }
    )


def _fields(listed: Listed) -> dict[str, object]:
    return {
        "response_id": listed.id,
        "event_time": listed.event_time,
        "domain": listed.domain,
        "fingerprint": listed.fingerprint,
        "p_correct": listed.p_correct,
        "correct": listed.correct,
        "weight": None if listed.correct is None else listed.weight,
        "label_kind": listed.label_kind or None,
        "n_tokens": listed.n_tokens,
        "finish_reason": listed.finish_reason,
        "classifier_version": None if listed.p_correct is None else listed.classifier_version,
        "slices": dict(listed.slices),
    }


def _features(found: Detail) -> dict[str, float]:
    """The features by name; what is NaN here is null in the answer."""
    values = found.features.tolist()
    return dict(zip(LAYOUTS.get(len(values), ()), values, strict=False))


def _label(label: Label) -> dict[str, object]:
    return {
        "label_id": label.label_id,
        "correct": label.correct,
        "event_time": label.event_time,
        "annotator_kind": label.annotator_kind,
        "source": label.source or None,
        "inclusion_probability": label.inclusion_probability,
    }
