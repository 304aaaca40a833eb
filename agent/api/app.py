"""The application: each request is limited, allowed, understood, and answered from the store or by the agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from driftgauge.agent.api.access import Access
from driftgauge.agent.api.agent_pages import Ask, agent_pages
from driftgauge.agent.api.guard import Guard
from driftgauge.agent.api.health import health
from driftgauge.agent.api.openapi import document
from driftgauge.agent.api.operating import roll_back
from driftgauge.agent.api.operations import EVENTS, HEALTH, LABELS, READS, ROLLBACK, STREAM, Operation, Read
from driftgauge.agent.api.page import page_routes
from driftgauge.agent.api.posting import EventsQuestion, Posting
from driftgauge.agent.api.problem import Problem, invalid
from driftgauge.agent.api.rate import RateLimit
from driftgauge.agent.api.reading import Answer, StoreReader
from driftgauge.agent.api.shapes import Question
from driftgauge.agent.api.stream import changes
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.queries import StoreQueries

MAX_STREAMS = 256


class Api:
    """The operations on one store.

    Parameters
    ----------
    known : what views know besides the store
    ask : asks the agent that runs; None: there is none
    """

    def __init__(
        self,
        reader: StoreReader,
        posting: Posting,
        access: Access,
        known: Known,
        rate: RateLimit,
        ask: Ask | None = None,
    ) -> None:
        self._reader, self._posting, self._access, self._known, self._ask = reader, posting, access, known, ask
        self._n_streams = 0
        self._document = document()
        self.app = Starlette(
            routes=[
                *(Route(read.path, partial(self._read, read), methods=["GET"]) for read in READS),
                Route(HEALTH.path, self._health, methods=["GET"]),
                Route(STREAM.path, self._stream, methods=["GET"]),
                Route(LABELS.path, self._labels, methods=["POST"]),
                Route(EVENTS.path, self._events, methods=["POST"]),
                Route(ROLLBACK.path, self._rollback, methods=["POST"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                *(agent_pages(ask) if ask else ()),
                *page_routes(),
            ],
            middleware=[Middleware(Guard, rate=rate, access=access)],
            exception_handlers={Problem: _problem, HTTPException: _http_problem, Exception: _failure},
            lifespan=self._lifespan,
        )
        self.app.router.redirect_slashes = False  # it would send a client, and its token, to where the Host header says

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._reader.watching():
            yield

    async def _read(self, read: Read, request: Request) -> Response:
        question = self._begin(read, request)
        make = partial(_body, read, question, self._known)
        return conditional(request, await self._reader.answer((read.path, question), make))

    async def _health(self, request: Request) -> Response:
        self._begin(HEALTH, request)
        return uncached(await health(self._ask))

    async def _labels(self, request: Request) -> Response:
        self._begin(LABELS, request)
        return uncached(await self._posting.labels(request), 202)

    async def _events(self, request: Request) -> Response:
        question = self._begin(EVENTS, request)
        assert isinstance(question, EventsQuestion)  # noqa: S101 - the table says so
        return uncached(await self._posting.events(request, question), 202)

    async def _rollback(self, request: Request) -> Response:
        self._begin(ROLLBACK, request)
        return uncached(await roll_back(request, self._reader, self._ask), 202)

    async def _stream(self, request: Request) -> Response:
        self._begin(STREAM, request)
        if self._n_streams >= MAX_STREAMS:
            raise Problem(503, f"at most {MAX_STREAMS} streams at once", headers={"retry-after": "30"})
        headers = {"cache-control": "no-store", "content-type": "text/event-stream; charset=utf-8"}
        if request.method == "HEAD":  # no body ends it
            return Response(headers=headers)
        return StreamingResponse(self._counted(), headers=headers)

    async def _counted(self) -> AsyncIterator[bytes]:
        self._n_streams += 1
        try:
            async for text in changes(self._reader):
                yield text
        finally:
            self._n_streams -= 1

    async def _openapi(self, request: Request) -> Response:
        return conditional(request, self._document)

    def _begin(self, operation: Operation, request: Request) -> Question:
        """The question of a request that may ask it; raises `Problem` otherwise."""
        self._access.check(operation.role, request.headers.get("authorization", ""))
        return asked(operation.question, request)


def _body(read: Read, question: Question, known: Known, queries: StoreQueries) -> bytes:
    return read.view(queries, question, known).model_dump_json(by_alias=True).encode()


def asked(model: type[Question], request: Request) -> Question:
    """The question of a request; raises `Problem` naming everything that is wrong with it."""
    pairs = request.query_params.multi_items()
    if repeated := [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]:
        raise Problem(422, "the query cannot be used", [f"{name}: given more than once" for name in sorted(repeated)])
    try:
        return model.model_validate(dict(pairs))
    except ValidationError as error:
        raise invalid("query", error) from None


def uncached(answer: BaseModel, status: int = 200) -> Response:
    """An answer that holds for this request only."""
    return Response(answer.model_dump_json(), status, {"cache-control": "no-store"}, "application/json")


def conditional(request: Request, answer: Answer) -> Response:
    """An answer in JSON; 304 without a body where the client has it already."""
    headers = {"etag": f'W/"{answer.etag}"', "cache-control": "private, no-cache", "vary": "accept-encoding"}
    if answer.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if answer.zipped and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(answer.zipped, headers={**headers, "content-encoding": "gzip"}, media_type="application/json")
    return Response(answer.body, headers=headers, media_type="application/json")


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - the table of handlers says so
    return error.response()


def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the table of handlers says so
    return Problem(error.status_code, error.detail, headers=error.headers).response()


def _failure(request: Request, _: Exception) -> Response:
    return Problem(500, f"{request.method} {request.url.path} failed; the log has the cause").response()
