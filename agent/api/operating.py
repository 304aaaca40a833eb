"""Going back to an earlier classifier version, while the agent runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from driftgauge.agent.api.agent_pages import Ask, asked_agent
from driftgauge.agent.api.posting import body_of, content_type
from driftgauge.agent.api.problem import Problem, invalid
from driftgauge.agent.api.reading import StoreReader
from driftgauge.agent.outlets.health import ROLLBACK
from driftgauge.connectors.store.queries import StoreQueries

_MAX_BYTES = 4_096


class Rollback(BaseModel, extra="forbid"):
    """A version that shall predict again."""

    fingerprint: Annotated[str, Field(min_length=1, max_length=256)]
    """Of its context."""
    version: Annotated[int, Field(ge=1, le=2**53)]


class RollbackAccepted(BaseModel):
    """The version predicts from the agent's next batch on."""

    fingerprint: str
    version: int


async def roll_back(request: Request, reader: StoreReader, ask: Ask | None) -> RollbackAccepted:
    """Ask the agent to go back, once the store has the version."""
    content_type(request, ("application/json",))
    try:
        wanted = Rollback.model_validate_json(await body_of(request, _MAX_BYTES))
    except ValidationError as error:
        raise invalid("body", error) from None
    if ask is None:
        raise Problem(409, "no agent runs here; use driftgauge rollback")
    await run_in_threadpool(reader.read, lambda queries: _check(queries, wanted))
    await asked_agent(ask, ROLLBACK, number=wanted.version, fingerprint=wanted.fingerprint)
    return RollbackAccepted(fingerprint=wanted.fingerprint, version=wanted.version)


def _check(queries: StoreQueries, wanted: Rollback) -> None:
    # scikit-learn and river come with this: a second, and 100 MB
    from driftgauge.agent.outlets.versions import contexts_in, stored_versions

    stored = {(made["context"], made["number"]) for made in stored_versions(contexts_in(queries))}
    if (wanted.fingerprint, wanted.version) not in stored:
        raise Problem(404, "the store has no such version; see /v1/classifiers")
