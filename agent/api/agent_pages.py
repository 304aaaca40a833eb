"""The pages that only the running agent can answer: health, readiness, metrics, and its part of ``/v1/health``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.outlets.http import Response, sent

Ask: TypeAlias = Callable[..., Awaitable[Response]]
"""Asks the agent for a page by its name, with arguments; raises `OSError` when the agent is gone."""

PATHS = ("/healthz", "/readyz", "/metrics")


def agent_pages(ask: Ask) -> list[Route]:
    """The routes of `PATHS`; they need no token."""
    return [Route(path, partial(_page, ask, path), methods=["GET"]) for path in PATHS]


async def asked_agent(ask: Ask, page: str, **arguments: object) -> Response:
    """The agent's answer; raises `Problem` when it is gone."""
    try:
        return await ask(page, **arguments)
    except OSError:
        raise Problem(503, "the agent has ended") from None


async def _page(ask: Ask, path: str, _: Request) -> StarletteResponse:
    return sent(await asked_agent(ask, path))
