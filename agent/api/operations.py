"""The table of operations: paths, questions, answers and roles. The application and the OpenAPI document follow it.

To add one that reads the store, write its view in `driftgauge.agent.api.views` and an entry in `READS`. An entry of
`OTHERS` is bound to its function in `driftgauge.agent.api.app`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from driftgauge.agent.api.access import Role
from driftgauge.agent.api.health import Health
from driftgauge.agent.api.operating import RollbackAccepted
from driftgauge.agent.api.posting import AcceptedEvents, AcceptedLabels, EventsQuestion
from driftgauge.agent.api.shapes import Paged, Question
from driftgauge.agent.api.views import alerts, classifiers, domain, domains, estimates, lists, quality, responses
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.decoding.decoder import CONTENT_TYPES
from driftgauge.connectors.labels.posted import MAX_LABELS
from driftgauge.connectors.store.queries import StoreQueries


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation, as the document describes it.

    Attributes
    ----------
    question : the model of its query
    body : the schema of its body, by content type
    answer : the model of its body in JSON; None: it is a stream of events
    """

    path: str
    summary: str
    description: str = ""
    method: Literal["GET", "POST"] = "GET"
    role: Role = "read"
    question: type[Question] = Question
    body: Mapping[str, Any] = field(default_factory=dict)
    answer: type[BaseModel] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Operation):
    """An operation that answers from the store.

    Attributes
    ----------
    view : the answer to a question; raises `Problem`
    """

    answer: type[BaseModel]
    view: Callable[[StoreQueries, Any, Known], BaseModel]


READS: tuple[Read, ...] = (
    Read(
        path="/v1/domains",
        summary="The newest estimate of each domain and context, the worst first",
        view=domains.domains,
        question=domains.DomainsQuestion,
        answer=domains.Domains,
    ),
    Read(
        path="/v1/domain",
        summary="One domain in one context, and what stands behind its estimate",
        view=domain.domain,
        question=estimates.SeriesQuestion,
        answer=domain.Domain,
    ),
    Read(
        path="/v1/estimates",
        summary="The newest estimate of each domain and context, by name",
        view=estimates.estimates,
        question=estimates.EstimatesQuestion,
        answer=estimates.Estimates,
    ),
    Read(
        path="/v1/estimates/history",
        summary="The estimates of a domain over time, oldest first",
        description="`from` and `to` bound the ends of windows.",
        view=estimates.history,
        question=estimates.HistoryQuestion,
        answer=estimates.Estimates,
    ),
    Read(
        path="/v1/slices",
        summary="The newest estimates of the slices of a domain",
        view=estimates.slices,
        question=estimates.SeriesQuestion,
        answer=estimates.Slices,
    ),
    Read(
        path="/v1/alerts",
        summary="Alerts, the newest first",
        view=alerts.alerts,
        question=alerts.AlertsQuestion,
        answer=alerts.Alerts,
    ),
    Read(
        path="/v1/data-list",
        summary="For which domains to get data: the newest list",
        view=lists.data_list,
        answer=lists.DataList,
    ),
    Read(
        path="/v1/label-lists",
        summary="Which responses to label: the lists of the newest period by rank",
        view=lists.label_lists,
        question=Paged,
        answer=lists.LabelLists,
    ),
    Read(
        path="/v1/weak-segments",
        summary="Slices where responses are wrong more often: the newest search",
        view=lists.weak_segments,
        answer=lists.WeakSegments,
    ),
    Read(
        path="/v1/responses",
        summary="Responses with predictions and labels, the newest first",
        view=responses.responses,
        question=responses.ResponsesQuestion,
        answer=responses.Responses,
    ),
    Read(
        path="/v1/responses/one",
        summary="One response with its features and labels",
        view=responses.response,
        question=responses.ResponseQuestion,
        answer=responses.ResponseDetail,
    ),
    Read(
        path="/v1/classifiers",
        summary="The classifier versions of each context, and how good predictions were",
        view=classifiers.classifiers,
        answer=classifiers.AllClassifiers,
    ),
    Read(
        path="/v1/quality",
        summary="What arrived and could be used",
        view=quality.quality,
        question=quality.QualityQuestion,
        answer=quality.Quality,
    ),
)

_LABEL = {
    "type": "object",
    "required": ["response_id", "correct"],
    "properties": {"response_id": {"type": "string"}, "correct": {}},
}
LABEL_BODY: Mapping[str, Any] = {"anyOf": [_LABEL, {"type": "array", "items": _LABEL, "maxItems": MAX_LABELS}]}

HEALTH = Operation(path="/v1/health", summary="Whether the agent runs, and how far it is", answer=Health)
STREAM = Operation(
    path="/v1/stream",
    summary="Tells when something changed",
    description='Server-sent events named `changed`, at most one a second. The data is `{"version": N}`; the first '
    "comes at once. Ask the other operations for what changed.",
    answer=None,
)
LABELS = Operation(
    path="/v1/labels",
    summary="Post labels",
    description="One label or a list, in JSON, as the event `label` describes them. `label_id` may be left out: it is "
    "then made of response and annotator, so that a later label corrects the former. So may `event_time`: it is now.",
    method="POST",
    role="label",
    body={"application/json": LABEL_BODY},
    answer=AcceptedLabels,
)
EVENTS = Operation(
    path="/v1/events",
    summary="Post generation events",
    description="One record in any format that the agent reads: its own events, bodies and streams of a model server.",
    method="POST",
    role="ingest",
    question=EventsQuestion,
    body={kind: {} for kind in CONTENT_TYPES},
    answer=AcceptedEvents,
)
ROLLBACK = Operation(
    path="/v1/classifiers/rollback",
    summary="Let an earlier classifier version predict again",
    method="POST",
    role="operate",
    body={"application/json": {"$ref": "#/components/schemas/Rollback"}},
    answer=RollbackAccepted,
)
OTHERS: tuple[Operation, ...] = (HEALTH, STREAM, LABELS, EVENTS, ROLLBACK)
