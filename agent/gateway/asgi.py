"""The gateway's other door: a middleware inside the model server, without a proxy before it.

With vLLM: ``vllm serve MODEL --middleware driftgauge.agent.gateway.asgi.CaptureMiddleware``. The settings are those of
``driftgauge gateway``, from the file that DRIFTGAUGE_CONFIG names and from the environment; those of the upstream, of
listening and of labels are not used. Capturing spends the processor time of the server's own process.
"""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from driftgauge.agent.gateway.exchange import ID_HEADER, Capture, Exchange, Reading
from driftgauge.agent.gateway.headers import OWN_PREFIX, first_of_each, to_client
from driftgauge.agent.gateway.naming import Request as NamedRequest
from driftgauge.agent.gateway.naming import split_prefix
from driftgauge.agent.gateway.wire.plan import Api, api_of

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class CaptureMiddleware:
    """A pure ASGI middleware that asks for log-probabilities, takes them out again, and publishes events.

    Parameters
    ----------
    app : the server
    capture : what requests are handed to; None: made from the settings, with its own threads
    max_request_bytes : a request with a larger body passes unread
    """

    def __init__(self, app: App, capture: Capture | None = None, max_request_bytes: int = 4 * 2**20) -> None:
        self._app = app
        self._capture = capture or _from_settings()
        self._max_request_bytes = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        domain, path = split_prefix(scope["path"])
        scope = {**scope, "path": path}
        if domain and "raw_path" in scope:
            scope["raw_path"] = split_prefix(scope["raw_path"].decode("latin-1"))[1].encode("latin-1")
        api = api_of(scope["method"], path)
        if api is None:
            await self._app(scope, receive, send)
        else:
            await self._answer(api, domain, scope, receive, send)

    async def _answer(self, api: Api, domain: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = first_of_each((name.decode("latin-1"), value) for name, value in scope["headers"])
        body = _Body(receive, self._max_request_bytes)
        if "content-encoding" in headers or not await body.is_read():
            self._capture.counts.requests["passed"] += 1
            self._capture.counts.passed["encoded" if "content-encoding" in headers else "too_large"] += 1
            await self._app(scope, body.replayed, send)
            return
        exchange = self._capture.open(api, NamedRequest(headers, domain, "", body.data))
        if exchange is None:
            await self._app(scope, body.replayed, send)
            return
        answer = _Answer(exchange, send)
        try:
            await self._app(_scope_of(scope, exchange), body.replaced(exchange.body), answer.send)
            if answer.is_refused:
                await self._app(_scope_of(scope, exchange), body.replaced(exchange.body), answer.send_again)
        except Exception:
            exchange.fail("upstream_broken" if answer.has_begun else "no_answer")
            raise
        finally:
            exchange.fail("client_gone")


class _Body:
    """The body of a request, read up to a bound, and given to the server again."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive, self._max_bytes = receive, max_bytes
        self._messages: list[Message] = []
        self.data = b""

    async def is_read(self) -> bool:
        """Read the body; False where it is too large, or the client is gone before its end."""
        parts: list[bytes] = []
        n_bytes = 0
        while n_bytes <= self._max_bytes:
            message = await self._receive()
            self._messages.append(message)
            if message["type"] != "http.request":
                return False
            parts.append(message.get("body", b""))
            n_bytes += len(parts[-1])
            if not message.get("more_body", False):
                self.data = b"".join(parts)
                return n_bytes <= self._max_bytes
        return False

    async def replayed(self) -> Message:
        """The messages that were read, then those that follow."""
        return self._messages.pop(0) if self._messages else await self._receive()

    def replaced(self, data: bytes) -> Receive:
        """The other body in one message, then what follows."""
        first: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Message:
            return first.pop() if first else await self._receive()

        return receive


class _Answer:
    """The server's answer on its way to the client."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange, self._send = exchange, send
        self._reading: Reading = "passed"
        self._held: Message | None = None
        self.is_refused = False
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Take a message of the first answer, of which a refusal is not sent."""
        if message["type"] == "http.response.start" and self._exchange.is_refused(message["status"]):
            self.is_refused = True
        if not self.is_refused:
            await self.send_again(message)

    async def send_again(self, message: Message) -> None:
        """Take a message of the answer that is sent."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._reading != "passed":
            await self._go_on(message)
        else:
            await self._send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._exchange.end()

    async def _begin(self, message: Message) -> None:
        exchange = self._exchange
        self.has_begun = True
        given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
        by_name = {name.lower(): value for name, value in given}
        self._reading = exchange.begin(
            message["status"], by_name.get("content-type", ""), by_name.get("content-encoding", "")
        )
        takes_out = self._reading != "passed" and exchange.takes_out
        headers = [*to_client(given, has_other_bytes=True)] if takes_out else given
        if exchange.response_id:
            headers.append((ID_HEADER, exchange.response_id))
        message = {**message, "headers": _encoded(headers)}
        if takes_out and self._reading == "body":
            self._held = message  # until its length is known
        else:
            await self._send(message)

    async def _go_on(self, message: Message) -> None:
        is_last = not message.get("more_body", False)
        out = self._exchange.feed(message.get("body", b""))
        if is_last:
            out += self._exchange.end()
        if self._held is not None and (out or is_last):
            head, self._held = self._held, None
            if is_last:
                head["headers"] = [*head["headers"], (b"content-length", b"%d" % len(out))]
            await self._send(head)
        if out or is_last:
            await self._send({**message, "body": out})


def _scope_of(scope: Scope, exchange: Exchange) -> Scope:
    """The scope of the request that the server sees."""
    dropped = {b"content-length", b"transfer-encoding"} | ({b"accept-encoding"} if exchange.kind != "passed" else set())
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in dropped and not name.startswith(OWN_PREFIX.encode())
    ]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % len(exchange.body))]}


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _from_settings() -> Capture:
    """The capture of this process. At its end what waits is published; its metrics stand beside those of the server."""
    from prometheus_client import REGISTRY

    from driftgauge.agent.gateway.parts import Parts
    from driftgauge.config.load import load_settings

    settings = load_settings()
    parts = Parts(settings, REGISTRY)
    parts.start()
    atexit.register(parts.close, settings.gateway.drain_s)
    return parts.capture
