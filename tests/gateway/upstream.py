"""A scripted model server on a socket, and the gateway's proxy before it, in one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from aiohttp import web

from driftgauge.agent.gateway.breaker import Breaker
from driftgauge.agent.gateway.door import Door
from driftgauge.agent.gateway.events_door import EventsDoor
from driftgauge.agent.gateway.exchange import Capture, CaptureRules
from driftgauge.agent.gateway.labels_door import LabelsDoor
from driftgauge.agent.gateway.metrics import Counts
from driftgauge.agent.gateway.naming import Naming, NamingRules
from driftgauge.agent.gateway.proxy import Proxy
from driftgauge.agent.gateway.proxy import Upstream as Address
from driftgauge.agent.gateway.wire.collect import collect_task
from driftgauge.agent.gateway.wire.stream import Memory
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation
from tests.decode.strategies import (
    Token,
    chat,
    chat_stream,
    completions,
    completions_stream,
    responses,
    responses_stream,
)
from tests.gateway.answers import Style, unasked

T = TypeVar("T")


@dataclass
class Hit:
    """A request as it reached the upstream."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for given, value in self.headers if given.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def asks(self) -> bool:
        body = self.json
        return bool(body.get("logprobs") or body.get("include")) or body.get("logprobs") == 0


@dataclass
class Line:
    """The connection of a client of the upstream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(f"HTTP/1.1 {status} Said\r\n{given}\r\n".encode())

    async def whole(
        self, body: bytes, status: int = 200, *, content_type: str = "application/json", **more: str
    ) -> None:
        await self.head(status, {"Content-Type": content_type, "Content-Length": str(len(body)), **more})
        await self.send(body)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def stream_head(self, content_type: str = "text/event-stream", **more: str) -> None:
        await self.head(200, {"Content-Type": content_type, "Transfer-Encoding": "chunked", **more})

    async def stream(self, pieces: Sequence[bytes], **more: str) -> None:
        await self.stream_head(**more)
        for piece in pieces:
            await self.chunk(piece)
        await self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        self.writer.transport.abort()


Script: TypeAlias = Callable[[Hit, Line], Awaitable[object]]
TOKENS = [
    Token(text, 100 + i, -0.5 - i / 8, ((text, 100 + i, -0.5 - i / 8), ("x", 7, -3.0))) for i, text in enumerate("abc")
]
STREAM_OF = {"chat": chat_stream, "completions": completions_stream, "responses": responses_stream}
BODY_OF = {"chat": chat, "completions": completions, "responses": responses}


def api_of(hit: Hit) -> str:
    return "chat" if "chat" in hit.target else hit.target.rpartition("/")[2].partition("?")[0]


def answer_of(hit: Hit, tokens: Sequence[Token] = TOKENS, style: Style | None = None) -> bytes:
    """The bytes of an honest server: log-probabilities where the request asks for them."""
    style, api = style or Style(), api_of(hit)
    if hit.json.get("stream"):
        made: list[Any] = [*STREAM_OF[api]([[token] for token in tokens]), "[DONE]"]
        return style.stream(made if hit.asks else [unasked(each) for each in made])
    tree = BODY_OF[api](tokens)
    return style.dump(tree if hit.asks else unasked(tree)).encode()


async def honest(hit: Hit, line: Line) -> None:
    body = answer_of(hit)
    if hit.json.get("stream"):
        await line.stream([body[i : i + 100] for i in range(0, len(body), 100)])
    else:
        await line.whole(body)


def says(body: bytes, status: int = 200, **headers: str) -> Script:
    """A server that gives one answer to everything."""

    async def script(_: Hit, line: Line) -> None:
        await line.head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers})
        await line.send(body)

    return script


class Upstream:
    """Answers each request as the script says, and keeps it in ``hits``."""

    def __init__(self, script: Script = honest) -> None:
        self.script = script
        self.hits: list[Hit] = []
        self.lines: list[Line] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**26)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for line in self.lines:
                line.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                hit = await _read(reader)
                self.hits.append(hit)
                await self.script(hit, line)

    async def gone(self, number: int = -1) -> None:
        """Wait until the client of that connection is gone."""
        line = self.lines[number]
        while await line.reader.read(1 << 16):
            pass


async def _read(reader: asyncio.StreamReader) -> Hit:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    hit = Hit(method, target, [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)])
    if "chunked" in (hit.header("Transfer-Encoding") or ""):
        while size := int(await reader.readline(), 16):
            hit.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        hit.body = await reader.readexactly(int(hit.header("Content-Length") or 0))
    return hit


@dataclass
class Gateway:
    """The proxy on a socket, with all that it gives away."""

    url: str
    capture: Capture
    upstream: Upstream
    records: list[tuple[bytes, bytes]]
    labels: list[tuple[bytes, bytes]]

    @property
    def counts(self) -> Counts:
        return self.capture.counts

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def events(self) -> list[Generation]:
        headers = (("content-type", b"application/msgpack"),)
        records = [Record("t", 0, i, key, value, headers) for i, (key, value) in enumerate(self.records)]
        return [event for event in Decoder().decode(records) if isinstance(event, Generation)]

    async def settled(self) -> None:
        """Wait until no request is open."""
        while self.counts.open_requests:
            await asyncio.sleep(0)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a new connection; all that comes until the gateway closes it."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        found = await reader.read()
        writer.close()
        return found


ALL = CaptureRules(models=frozenset({"*"}))


@asynccontextmanager
async def gateway(
    script: Script = honest,
    *,
    rules: CaptureRules = ALL,
    names: NamingRules | None = None,
    address: Mapping[str, Any] | None = None,
    breaker: Breaker | None = None,
    max_request_bytes: int = 2**22,
    max_bytes: int = 2**26,
    token: str = "",
) -> AsyncIterator[Gateway]:
    upstream = Upstream(script)
    records: list[tuple[bytes, bytes]] = []
    labels: list[tuple[bytes, bytes]] = []
    counts = Counts()

    def put_label(key: bytes, value: bytes) -> bool:
        labels.append((key, value))
        return True

    def put_body(task: bytes) -> bool:
        found = collect_task(task)
        records.extend(found.events)
        counts.lost.update(found.dropped)
        return True

    capture = Capture(
        rules, Naming(names), breaker or Breaker(), counts, Memory(max_bytes),
        put=lambda key, value: records.append((key, value)), put_body=put_body,
    )  # fmt: skip
    async with upstream.listening() as url:
        doors: list[Door] = []
        if token:
            doors = [
                LabelsDoor(put_label, token=token),
                EventsDoor(put_body, token=token, max_bytes=max_request_bytes),
            ]
        proxy = Proxy(
            Address(**{"url": url, **(address or {})}), capture, max_request_bytes=max_request_bytes, doors=doors
        )
        async with proxy.connected() as server:
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            try:
                yield Gateway(f"http://127.0.0.1:{port}", capture, upstream, records, labels)
            finally:
                await runner.cleanup()
    assert capture.memory.used_bytes == 0
    assert counts.open_requests == 0
    assert counts.errors == 0


def run(work: Coroutine[Any, Any, T], *, timeout_s: float = 30.0) -> T:
    """Run to the end; a test that hangs fails."""

    async def limited() -> T:
        return await asyncio.wait_for(work, timeout_s)

    return asyncio.run(limited())
