"""What holds for every request: a rate for each client, a host, headers that protect browsers."""

from __future__ import annotations

import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftgauge.agent.api.access import Access
from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.rate import RateLimit

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, rate: RateLimit, access: Access) -> None:
        self._app, self._rate, self._access = app, rate, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on unless its client sends too many, or it came under the name of another site."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, protected)
        else:
            await self._app(scope, receive, protected)

    def _check(self, scope: Scope) -> None:
        client = scope["client"][0] if scope["client"] else ""
        if wait_s := self._rate.wait_s(client):
            raise Problem(429, "too many requests", headers={"retry-after": str(math.ceil(wait_s))})
        self._access.check_host(Headers(scope=scope).get("host", ""))
