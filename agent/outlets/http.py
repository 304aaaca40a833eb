"""The agent's small HTTP server: health, readiness, metrics.

Answers GET and HEAD on exact paths, from a thread of its own. Bounded: `MAX_REQUESTS` requests at once, `TIMEOUT_S`
seconds for a client to finish its request, no request bodies.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from driftgauge.agent.core.state import State
from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.models.account import Account
from driftgauge.models.outputs import Output

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


class Health:
    """An observer of the loop that knows whether the loop is alive and whether it is ready.

    The loop is *alive* while it reports to its observers at least every ``stuck_after_s`` seconds, also while it waits
    for a broker or a database. It is *ready* while it processes events, and not before its first round.
    """

    def __init__(self, *, stuck_after_s: float = 300.0, now: Callable[[], float] = time.monotonic) -> None:
        self.stuck_after_s = stuck_after_s
        self._now = now
        self._last_report = now()
        self._not_ready: str | None = "starting"

    def resumed(self, state: State) -> None:
        """Ignore the state."""

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Note a committed batch: the loop is alive."""
        self._last_report = self._now()

    def account(self, account: Account) -> None:
        """Ignore the account."""

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """Ignore the lag: an agent that is behind is alive and ready."""

    def failure(self, error: ConnectorError | None) -> None:
        """Note that the loop finished a round (None), or that it waits because of this error."""
        self._last_report = self._now()
        self._not_ready = None if error is None else str(error)

    def healthz(self) -> Response:
        """200 while the loop is alive, else 503: the process should be restarted."""
        silent_s = self._now() - self._last_report
        if silent_s > self.stuck_after_s:
            return _json({"status": "stuck", "reason": f"the loop has not finished a round for {silent_s:.0f} s"}, 503)
        return _json({"status": "alive"})

    def readyz(self) -> Response:
        """200 while events are being processed, else 503 with the cause."""
        if self._not_ready is None:
            return _json({"status": "ready"})
        return _json({"status": "not ready", "reason": self._not_ready}, 503)


def routes(health: Health, registry: CollectorRegistry) -> dict[str, Route]:
    """The paths every agent answers."""
    return {
        "/healthz": health.healthz,
        "/readyz": health.readyz,
        "/metrics": lambda: Response(generate_latest(registry), CONTENT_TYPE_LATEST),
    }


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
            return _json({"status": "not found", "paths": sorted(routes)}, 404)
        try:
            return route()
        except Exception:
            log.exception("GET %s failed", self.path.partition("?")[0])
            return _json({"status": "error"}, 500)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        log.debug(format, *args)


def _json(content: Mapping[str, object], status: int = 200) -> Response:
    return Response(json.dumps(content).encode() + b"\n", status=status)
