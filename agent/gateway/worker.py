"""One worker of ``driftgauge gateway``: the proxy, its parts and its status paths, in one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import closing

from aiohttp import web
from prometheus_client import CollectorRegistry

from driftgauge.agent.gateway.parts import Parts
from driftgauge.agent.gateway.proxy import Proxy, Upstream
from driftgauge.agent.gateway.status import GatewayHealth, routes
from driftgauge.agent.outlets.http import Server, cannot_listen, listen, pages
from driftgauge.config.gateway import GatewaySettings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError

log = logging.getLogger(__name__)

TICK_S = 0.25
CLOSE_S = 1.0
"""Seconds that parsing and publishing have to finish where open requests took all the time to drain."""


def bound_socket(settings: GatewaySettings) -> socket.socket:
    """A socket bound to the address of the gateway; several processes may bind the same.

    Raises
    ------
    ConnectorError
        When the address is taken or does not exist.
    """
    try:
        [family, *_], *_ = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.workers > 1:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((settings.host, settings.port))
    except OSError as error:
        raise cannot_listen(settings.host, settings.port, error) from None
    return made


def run_worker(settings: Settings, stopping: threading.Event, *, number: int = 0) -> None:
    """Serve until ``stopping`` is set; then finish what is open.

    Parameters
    ----------
    number : of this worker, from 0; its status port is that many after the first

    Raises
    ------
    ConnectorError
        When an address is taken, or a file of the settings cannot be used.
    """
    gateway = settings.gateway
    registry = CollectorRegistry()
    parts = Parts(settings, registry)
    health = GatewayHealth(lambda: parts.publisher.problem)
    status_port = gateway.status_port + number if gateway.status_port else 0
    with (
        closing(bound_socket(gateway)) as listening,
        closing(Server(pages(routes(health, registry)), listen(settings.server.host, status_port))) as status,
    ):
        left_s = 0.0
        gc.freeze()  # the modules need no look at each collection, in which no stream moves
        try:
            left_s = asyncio.run(_serve(gateway, parts, health, listening, stopping, status.port))
        finally:
            parts.close(max(left_s, CLOSE_S))


async def _serve(
    gateway: GatewaySettings,
    parts: Parts,
    health: GatewayHealth,
    listening: socket.socket,
    stopping: threading.Event,
    status_port: int,
) -> float:
    """Serve until stopped, and finish open requests; returns the seconds that are left to drain."""
    async with proxy_of(gateway, parts).connected() as server:
        runner = web.ServerRunner(server, shutdown_timeout=gateway.drain_s)
        await runner.setup()
        await web.SockSite(runner, listening, ssl_context=_tls(gateway), backlog=1024).start()
        parts.start()
        port = listening.getsockname()[1]
        log.info(
            "the gateway listens on %s:%s, its status on port %s; it asks %s for log-probabilities",
            gateway.host, port, status_port, asked(gateway.capture.models),
        )  # fmt: skip
        health.accept_requests()
        await _watch(parts, health, stopping)
        health.drain()
        deadline = time.monotonic() + gateway.drain_s
        await runner.cleanup()
        return deadline - time.monotonic()


def proxy_of(gateway: GatewaySettings, parts: Parts) -> Proxy:
    """The door of a worker."""
    return Proxy(
        _upstream(gateway), parts.capture, max_request_bytes=gateway.limits.max_request_bytes, doors=parts.doors
    )


async def _watch(parts: Parts, health: GatewayHealth, stopping: threading.Event) -> None:
    """Note that the event loop turns, and how late it is, until the gateway is stopped."""
    while not stopping.is_set():
        due = time.monotonic() + TICK_S
        await asyncio.sleep(TICK_S)
        health.tick()
        parts.counts.loop_lag_s = max(0.0, time.monotonic() - due)
        parts.counts.open_bytes = parts.memory.used_bytes


def _upstream(gateway: GatewaySettings) -> Upstream:
    return Upstream(
        gateway.upstream,
        ssl=_trusted(gateway.upstream_cafile) if gateway.upstream_cafile else None,
        connect_timeout_s=gateway.connect_timeout_s,
        read_timeout_s=gateway.read_timeout_s or None,
        keepalive_s=gateway.keepalive_s,
    )


def _trusted(cafile: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConnectorError(f"gateway.upstream_cafile: {cafile}: {error}", retriable=False) from None


def asked(models: Sequence[str]) -> str:
    """The models that are asked for log-probabilities, in words.

    >>> asked(["chat-large", "chat-small"]), asked(["*"]), asked([])
    ('chat-large, chat-small', 'every model', 'no model (gateway.capture.models)')
    """
    return "every model" if "*" in models else ", ".join(models) or "no model (gateway.capture.models)"


def _tls(gateway: GatewaySettings) -> ssl.SSLContext | None:
    if not gateway.tls_certfile:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # without a password OpenSSL would ask for one on the terminal
        context.load_cert_chain(gateway.tls_certfile, gateway.tls_keyfile, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConnectorError(f"gateway.tls_certfile: {gateway.tls_certfile}: {error}", retriable=False) from None
    return context
