"""The gateway's door: a reverse proxy on aiohttp before one upstream.

Requests to a known endpoint are read and go through an `Exchange`; everything else streams through unread in both
directions, WebSockets included. A client that leaves cancels the request upstream. Nothing is sent twice, but for the
client's own bytes after a refusal (`Exchange.is_refused`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from driftgauge.agent.gateway.door import Door
from driftgauge.agent.gateway.exchange import ID_HEADER, Capture, Exchange, Reading
from driftgauge.agent.gateway.failures import Unreachable, refusal, server_log
from driftgauge.agent.gateway.headers import first_of_each, to_client, to_upstream
from driftgauge.agent.gateway.naming import Request as NamedRequest
from driftgauge.agent.gateway.naming import split_prefix
from driftgauge.agent.gateway.wire.plan import api_of
from driftgauge.connectors.model_server import url_of

READ_BYTES = 2**16
"""A connection is read no further while twice as many bytes wait for the other side."""

MAX_HEADER_BYTES = 2**16
"""The longest request line or header, in both directions."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Upstream:
    """The server behind the gateway.

    Attributes
    ----------
    url : its address; see `driftgauge.connectors.model_server.url_of`
    ssl : for https; None: the certificates of the system
    connect_timeout_s : seconds to wait for a connection
    read_timeout_s : seconds without a byte after which a request fails; None: never
    keepalive_s : seconds that an idle connection is kept: fewer than the server keeps it
    """

    url: str
    ssl: ssl.SSLContext | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float | None = None
    keepalive_s: float = 4.0


class Proxy:
    """Answers requests by those of the upstream.

    Parameters
    ----------
    max_request_bytes : a request with a larger body is passed unread
    doors : which answer their paths; without a door a path goes upstream like everything else
    now : UTC seconds
    """

    def __init__(
        self,
        upstream: Upstream,
        capture: Capture,
        *,
        max_request_bytes: int = 4 * 2**20,
        doors: Sequence[Door] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._capture = capture
        self._counts = capture.counts
        self._max_request_bytes = max_request_bytes
        self._doors = {door.path: door for door in doors}
        self._now = now
        self._unreachable = Unreachable()
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[web.Server]:
        """The server of this proxy, with a pool of connections to the upstream while the context lasts."""
        tls = self._upstream.ssl if self._upstream.ssl is not None else True
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self._upstream.keepalive_s, ssl=tls)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._upstream.connect_timeout_s, sock_read=self._upstream.read_timeout_s
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as self._session:
            yield web.Server(
                self._handle,
                handler_cancellation=True,
                access_log=None,
                logger=server_log(),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._counts.open_requests += 1
        try:
            return await self._answer(request)
        finally:
            self._counts.open_requests -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.rel_url.raw_path_qs
        if request.method == "CONNECT" or not target.startswith("/"):
            refused = refusal(400, "bad_target", "this server is no forward proxy")
            refused.force_close()
            return refused
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0
        elif "Expect" in request.headers:
            return refusal(417, "expectation", "the gateway does not know this expectation")
        domain, target = split_prefix(target)
        path = target.partition("?")[0]
        if request.method == "POST" and path in self._doors:
            return await self._post(self._doors[path], request)
        if _is_websocket(request):
            return await self._pass_websocket(request, target)
        api = api_of(request.method, path)
        if api is None:
            body: bytes | AsyncIterator[bytes] | None = _pieces(request) if request.body_exists else None
        else:
            body = await self._read(request)
        if api is None or not isinstance(body, bytes):
            self._counts.requests["passed"] += 1
            return await self._forward(request, target, None, body)
        named = NamedRequest(_named(request.headers), domain, "", body)
        return await self._forward(request, target, self._capture.open(api, named), body)

    async def _read(self, request: web.BaseRequest) -> bytes | AsyncIterator[bytes] | None:
        """The body of a request that is to be read; one that is too large or encoded as pieces to pass on."""
        if request.headers.get("Content-Encoding") or (request.content_length or 0) > self._max_request_bytes:
            self._counts.passed["too_large" if "Content-Encoding" not in request.headers else "encoded"] += 1
            return _pieces(request) if request.body_exists else None
        parts: list[bytes] = []
        n_bytes = 0
        async for part in request.content.iter_any():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > self._max_request_bytes:
                self._counts.passed["too_large"] += 1
                return _pieces(request, b"".join(parts))
        return b"".join(parts)

    async def _post(self, door: Door, request: web.BaseRequest) -> web.Response:
        parts: list[bytes] = []
        n_bytes = 0
        async for part in request.content.iter_any():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > door.max_bytes:
                break  # the door refuses it
        answer = door.answer(request.headers.get("Authorization", ""), b"".join(parts), now=self._now())
        self._counts.requests[door.kind] += 1
        outcomes = self._counts.labels if door.kind == "labels" else self._counts.events
        outcomes[answer.outcome] += 1
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    async def _forward(
        self,
        request: web.BaseRequest,
        target: str,
        exchange: Exchange | None,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> web.StreamResponse:
        """Answer a request by that of the upstream; whatever ends it early ends the request upstream too."""
        upstream: aiohttp.ClientResponse | None = None
        reason = "client_gone"
        try:
            upstream = await self._send(request, target, exchange, body)
            if exchange is not None and exchange.is_refused(upstream.status):
                upstream.close()
                upstream = await self._send(request, target, exchange, body)
            return await self._relay(request, upstream, exchange)
        except _UpstreamBrokenError as error:
            reason = "upstream_broken"
            self._unreachable.note_broken_off(error.cause)
            return _cut_off(request)
        except (aiohttp.ClientError, TimeoutError) as error:
            if upstream is not None and isinstance(error, aiohttp.ClientConnectionResetError):
                raise  # it is the client that is gone
            reason = "no_answer"
            return self._unreachable.answer(error)
        finally:
            if upstream is not None:
                upstream.close()
            if exchange is not None:
                exchange.fail(reason)

    async def _send(
        self,
        request: web.BaseRequest,
        target: str,
        exchange: Exchange | None,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse:
        reads = exchange is not None and exchange.kind != "passed"
        headers = CIMultiDict(to_upstream(request.headers.items(), reads=reads))
        if exchange is not None:
            body = exchange.body
        elif body is not None and "Content-Length" in request.headers:
            headers["Content-Length"] = request.headers["Content-Length"]
        assert self._session is not None  # noqa: S101 - requests come only while it is connected
        url = URL(url_of(self._upstream.url, target), encoded=True)
        return await self._session.request(request.method, url, data=body, headers=headers, allow_redirects=False)

    async def _relay(
        self, request: web.BaseRequest, upstream: aiohttp.ClientResponse, exchange: Exchange | None
    ) -> web.StreamResponse:
        reading: Reading = "passed"
        if exchange is not None:
            given = upstream.headers
            reading = exchange.begin(upstream.status, given.get("Content-Type", ""), given.get("Content-Encoding", ""))
        is_read = exchange is not None and reading != "passed"
        has_other_bytes = exchange is not None and is_read and exchange.takes_out
        headers = CIMultiDict(to_client(upstream.headers.items(), has_other_bytes=has_other_bytes))
        if exchange is not None and exchange.response_id:
            headers[ID_HEADER] = exchange.response_id
        headers.setdefault("Server", "driftgauge")  # aiohttp would add its version
        if reading == "stream":
            headers.setdefault("X-Accel-Buffering", "no")  # a proxy before the gateway would hold the stream back
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
        if not (has_other_bytes and reading == "body"):
            await response.prepare(request)
            if response.content_length is None:
                await response.write(b"")  # the head goes out before the first token comes
        read = upstream.content.readany
        while True:
            try:
                data = await read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise _UpstreamBrokenError(error) from error
            if not data:
                break
            if exchange is not None and is_read:
                data = exchange.feed(data)
            if data:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(data)
        rest = exchange.end() if exchange is not None else b""
        if not response.prepared:
            response.content_length = len(rest)
            await response.prepare(request)
        await response.write_eof(rest)
        return response

    async def _pass_websocket(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        self._counts.requests["passed"] += 1
        protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
        headers = CIMultiDict(
            (name, value)
            for name, value in to_upstream(request.headers.items(), reads=False)
            if not name.lower().startswith("sec-websocket-")
        )
        assert self._session is not None  # noqa: S101 - requests come only while it is connected
        url = URL(url_of(self._upstream.url, target), encoded=True)
        try:
            theirs = await self._session.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return refusal(error.status, "upstream_refused", "the model server refused the WebSocket")
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._unreachable.answer(error)
        async with theirs:
            chosen = [theirs.protocol] if theirs.protocol else []
            ours = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
            await ours.prepare(request)
            directions = [asyncio.ensure_future(_pump(theirs, ours)), asyncio.ensure_future(_pump(ours, theirs))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
            await ours.close(code=theirs.close_code or aiohttp.WSCloseCode.OK)
            return ours


class _UpstreamBrokenError(Exception):
    """The upstream ended an answer in the middle."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


Socket: TypeAlias = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


async def _pieces(request: web.BaseRequest, first: bytes = b"") -> AsyncIterator[bytes]:
    """The body of a request as it comes, after the part of it that was read already."""
    if first:
        yield first
    async for part in request.content.iter_any():
        yield part


def _is_websocket(request: web.BaseRequest) -> bool:
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return first_of_each((name, value.encode("utf-8", "surrogateescape")) for name, value in headers.items())


def _cut_off(request: web.BaseRequest) -> web.StreamResponse:
    """End the client's connection without the proper end of an answer, because there was none."""
    if request.transport is not None:
        request.transport.close()
    raise ConnectionResetError("the upstream ended the answer in the middle")
