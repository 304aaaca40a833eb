"""The table of operations: paths, questions, answers and roles. The application and the OpenAPI document follow it.

To add one that reads the store, write its view in `driftgauge.agent.api.views` and an entry in `READS`. An entry of
`OTHERS` is bound to its function in `driftgauge.agent.api.app`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from driftgauge.agent.api.access import Role
from driftgauge.agent.api.health import Health
from driftgauge.agent.api.shapes import Question
from driftgauge.agent.api.views import domains
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.queries import StoreQueries


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation, as the document describes it.

    Attributes
    ----------
    question : the model of its query
    answer : the model of its body in JSON; None: it is a stream of events
    """

    path: str
    summary: str
    description: str = ""
    method: Literal["GET", "POST"] = "GET"
    role: Role = "read"
    question: type[Question] = Question
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
)

HEALTH = Operation(path="/v1/health", summary="Whether the agent runs, and how far it is", answer=Health)
STREAM = Operation(
    path="/v1/stream",
    summary="Tells when something changed",
    description='Server-sent events named `changed`, at most one a second. The data is `{"version": N}`; the first '
    "comes at once. Ask the other operations for what changed.",
    answer=None,
)
OTHERS: tuple[Operation, ...] = (HEALTH, STREAM)
