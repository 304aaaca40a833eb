"""A small HTTP server for health, readiness and metrics.

Answers GET and HEAD on exact paths, from a thread of its own. Bounded: `MAX_REQUESTS` requests at once, `TIMEOUT_S`
seconds for a client to finish its request, no request bodies.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from driftgauge.connectors.base import ConnectorError

log = logging.getLogger(__name__)

MAX_REQUESTS = 32
TIMEOUT_S = 10.0
_STOP_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Response:
    """What the server sends for a path."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Route: TypeAlias = Callable[[], Response]


def metrics_route(registry: CollectorRegistry) -> Route:
    """The route that answers a scrape of Prometheus."""
    return lambda: Response(generate_latest(registry), CONTENT_TYPE_LATEST)


class Server:
    """Answers the routes until it is closed.

    With ``port`` 0 it listens on a free port; the attribute ``port`` is its number.

    Raises
    ------
    ConnectorError
        When the server cannot listen on the address.
    """

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        try:
            self._http = _Http((host, port), routes)
        except (OSError, OverflowError) as error:
            raise ConnectorError(f"cannot listen on {host}:{port}: {error}", retriable=False) from None
        self.host, self.port = host, int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=[_STOP_POLL_S], name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_REQUESTS

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route]) -> None:
        self.routes = routes
        self._free_slots = threading.BoundedSemaphore(MAX_REQUESTS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Close the connection at once when `MAX_REQUESTS` requests are being answered."""
        if self._free_slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_slots.release()


class _Request(BaseHTTPRequestHandler):
    server_version, sys_version = "driftgauge", ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        response = self._response()
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(response.body)

    do_HEAD = do_GET  # noqa: N815 - the name is the library's

    def _response(self) -> Response:
        routes = cast(_Http, self.server).routes
        route = routes.get(self.path.partition("?")[0])
        if route is None:
            return json_response({"status": "not found", "paths": sorted(routes)}, 404)
        try:
            return route()
        except Exception:
            log.exception("GET %s failed", self.path.partition("?")[0])
            return json_response({"status": "error"}, 500)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        log.debug(format, *args)


def json_response(content: Mapping[str, object], status: int = 200) -> Response:
    """A response of one JSON object."""
    return Response(json.dumps(content).encode() + b"\n", status=status)
