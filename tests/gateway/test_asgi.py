"""The middleware inside a server: the same promises as the proxy's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from driftgauge.agent.gateway.asgi import App, CaptureMiddleware, Message, Receive, Scope, Send
from driftgauge.agent.gateway.breaker import Breaker
from driftgauge.agent.gateway.exchange import Capture
from driftgauge.agent.gateway.metrics import Counts
from driftgauge.agent.gateway.naming import Naming
from driftgauge.agent.gateway.wire.collect import collect_task
from driftgauge.agent.gateway.wire.stream import Memory
from tests.gateway.upstream import ALL, Hit, answer_of, run

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": []}


@dataclass
class Server:
    """A server with the middleware, and what it was asked."""

    refuses: bool = False
    n_parts: int = 3
    hits: list[Hit] = field(default_factory=list)
    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An honest server."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        hit = Hit(scope["method"], scope["path"], headers, body)
        self.hits.append(hit)
        if self.refuses and hit.asks:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})
            return
        answer = answer_of(hit) if CHAT in hit.target else body
        kind = b"text/event-stream" if b'"stream": true' in body else b"application/json"
        given = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": given[: 1 + (kind[:1] == b"a")]})
        size = -(-len(answer) // self.n_parts)
        for at in range(0, len(answer), size):
            more = at + size < len(answer)
            await send({"type": "http.response.body", "body": answer[at : at + size], "more_body": more})

    def capture(self) -> Capture:
        def put_body(task: bytes) -> None:
            self.records.extend(collect_task(task).events)

        return Capture(
            ALL, Naming(), Breaker(), self.counts, Memory(2**20),
            put=lambda key, value: self.records.append((key, value)), put_body=put_body,
        )  # fmt: skip

    async def ask(
        self, body: bytes, path: str = CHAT, headers: Sequence[tuple[bytes, bytes]] = (), app: App | None = None
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """One request, its body in two parts; status, headers and body of the answer."""
        messages: list[Message] = [
            {"type": "http.request", "body": body[:10], "more_body": True},
            {"type": "http.request", "body": body[10:], "more_body": False},
            {"type": "http.disconnect"},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": [*headers]}
        middleware = CaptureMiddleware(app or self.app, self.capture(), max_request_bytes=1_000)
        await middleware(scope, receive, send)
        [start, *parts] = sent
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
        return start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in parts)


def plain(body: Any) -> bytes:
    return answer_of(Hit("POST", CHAT, [], json.dumps(body).encode()))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("n_parts", [1, 3, 10_000])
def test_a_request_is_asked_and_its_client_sees_nothing_of_it(is_stream: bool, n_parts: int) -> None:
    server = Server(n_parts=n_parts)
    body = {**BODY, "stream": is_stream}
    domain = "é".encode()
    given = ((b"host", b"h"), (b"accept-encoding", b"gzip"), (b"driftgauge-domain", domain), (b"content-length", b"9"))
    status, headers, answer = run(server.ask(json.dumps(body).encode(), headers=given))
    assert (status, answer) == (200, plain(body))
    assert is_stream or headers[b"content-length"] == b"%d" % len(answer)
    assert server.hits[0].asks
    assert dict(server.hits[0].headers) == {"host": "h", "content-length": str(len(server.hits[0].body))}
    [(key, value)] = server.records
    assert headers[b"x-driftgauge-response-id"] == key
    assert domain in value


def test_a_refusal_is_answered_with_the_clients_own_bytes() -> None:
    server = Server(refuses=True)
    assert run(server.ask(json.dumps(BODY).encode()))[2] == plain(BODY)
    assert [hit.asks for hit in server.hits] == [True, False]
    assert server.counts.asked == {"refused": 1}


@pytest.mark.parametrize("body", [b"not json at all", b"x" * 5_000])
def test_a_body_that_is_not_read_reaches_the_server_whole(body: bytes) -> None:
    server = Server()
    run(server.ask(body, path="/v1/embeddings"))
    assert server.hits[0].body == body
    assert server.counts.requests == {}


def test_a_body_beyond_the_bound_reaches_the_server_whole() -> None:
    server = Server()
    body = json.dumps({**BODY, "x": "y" * 5_000}).encode()
    assert run(server.ask(body))[2] == plain(BODY)
    assert server.hits[0].body == body
    assert server.counts.passed == {"too_large": 1}


def test_the_domain_may_be_in_the_path() -> None:
    server = Server()
    run(server.ask(json.dumps(BODY).encode(), path="/d/tax" + CHAT))
    assert server.hits[0].target == CHAT
    assert b"tax" in server.records[0][1]


def test_a_server_that_fails_or_ends_early_gives_no_event() -> None:
    async def fails(_: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise RuntimeError("out of memory")

    async def ends(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: {", "more_body": False})

    server = Server()
    with pytest.raises(RuntimeError):
        run(server.ask(json.dumps(BODY).encode(), app=fails))
    assert server.counts.lost == {"no_answer": 1}
    assert server.counts.asked == {"failed": 1}
    assert run(server.ask(json.dumps(BODY).encode(), app=ends))[2] == b"data: {"
    assert server.records == []


def test_other_connections_are_not_touched() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    run(CaptureMiddleware(app, Server().capture())({"type": "websocket"}, nothing, nothing))
    run(CaptureMiddleware(app, Server().capture())({"type": "lifespan"}, nothing, nothing))
    assert seen == ["websocket", "lifespan"]
