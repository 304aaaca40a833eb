"""An HTTP server in a thread, for an ASGI application: the pages of health and metrics, or the whole API.

Owns one listening socket and one thread with an event loop. Bounded: `MAX_CONNECTIONS` at once, `MAX_HEADER_BYTES` of
headers, and `TIMEOUT_S` seconds for a client to send the headers of a request, and to go on reading an answer.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from driftgauge.connectors.base import ConnectorError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
MAX_HEADER_BYTES = 32 * 1024
_PART_BYTES = 4 * 1024
TIMEOUT_S = 10.0
KEEP_ALIVE_S = 30
CLOSE_S = 2
"""Seconds that open requests get at the end."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the server sends for a page."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Route: TypeAlias = Callable[[], Response]


def json_response(content: Mapping[str, object], status: int = 200) -> Response:
    """A response of one JSON object."""
    return Response(json.dumps(content).encode() + b"\n", status=status)


def metrics_route(registry: CollectorRegistry) -> Route:
    """The route that answers a scrape of Prometheus."""
    return lambda: Response(generate_latest(registry), CONTENT_TYPE_LATEST)


def pages(routes: Mapping[str, Route]) -> Starlette:
    """The application that answers GET and HEAD on exact paths."""

    async def missing(_: Request, __: Exception) -> StarletteResponse:
        return sent(json_response({"status": "not found", "paths": sorted(routes)}, 404))

    async def answer(route: Route, _: Request) -> StarletteResponse:
        return sent(await run_in_threadpool(answered, route))

    found = [StarletteRoute(path, partial(answer, route), methods=["GET"]) for path, route in routes.items()]
    return Starlette(routes=found, exception_handlers={404: missing})


def sent(response: Response) -> StarletteResponse:
    """A response as the application sends it."""
    headers = {"x-content-type-options": "nosniff", "content-type": response.content_type}
    return StarletteResponse(response.body, response.status, headers)


def answered(route: Callable[..., Response], **arguments: object) -> Response:
    """What a route answers: where it fails, an error without details."""
    try:
        return route(**arguments)
    except Exception:
        log.exception("a page failed")
        return json_response({"status": "error"}, 500)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; with ``port`` 0 on a free port.

    Raises
    ------
    ConnectorError
        When the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise cannot_listen(host, port, error) from None
    # connections inherit it: else the body waits up to 40 ms until the client has acknowledged the headers
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def cannot_listen(host: str, port: int, error: OSError | OverflowError) -> ConnectorError:
    """The error for an address that cannot be listened on.

    >>> print(cannot_listen("127.0.0.1", 9464, OSError(errno.EADDRINUSE, "Address already in use (while …)")))
    cannot listen on 127.0.0.1:9464: another process uses this port; is driftgauge running already?
    """
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        reason = "another process uses this port; is driftgauge running already?"
    else:  # asyncio and socket add the address to the reason
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
    return ConnectorError(f"cannot listen on {host}:{port}: {reason}", retriable=False)


@contextmanager
def status_pages(host: str, port: int, routes: Mapping[str, Route]) -> Iterator[None]:
    """Serve the pages of health and metrics while the context is open; with ``port`` 0 there are none.

    Raises
    ------
    ConnectorError
        When the address cannot be listened on.
    """
    if not port:
        yield
        return
    with closing(Server(pages(routes), listen(host, port))):
        log.info("metrics on %s/metrics", address(host, port))
        yield


def address(host: str, port: int) -> str:
    """The URL of a server.

    >>> address("::1", 9464)
    'http://[::1]:9464'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """Serves an application until it is closed.

    Parameters
    ----------
    listener : the socket to listen on, which the server closes
    before_close : called in the event loop before the server closes, to end responses that would last for ever
    timeout_s : seconds for a client to send the headers of a request, and for one that reads nothing to go on reading

    Attributes
    ----------
    host, port : the address that the server listens on
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        before_close: Callable[[], None] = lambda: None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self._listener, self._before_close = listener, before_close
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                http=cast(Any, partial(_Protocol, timeout_s)),
                ws="none",
                log_config=None,
                log_level="error",  # a warning for each malformed request would fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=CLOSE_S,
            )
        )
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end what is open; safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()

    def _run(self) -> None:
        with self._runner, self._listener:
            self._runner.run(self._uvicorn.serve(sockets=[self._listener]))

    def _end(self) -> None:
        self._before_close()
        self._uvicorn.should_exit = True


class _Protocol(H11Protocol):
    """Closes a connection whose client takes too long to send the headers of a request, or to read an answer."""

    def __init__(self, timeout_s: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        # in parts: headers that come whole, in one piece, are not measured
        for start in range(0, len(data), _PART_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _PART_BYTES])
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._await_headers()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self._timeout_s, self._reset)

    def _reset(self) -> None:
        # without this the system goes on sending what the client does not read
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(self._timeout_s, self.transport.close)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
