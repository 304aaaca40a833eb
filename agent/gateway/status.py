"""Whether a worker of the gateway is alive and ready, and the paths that say so.

A broker that is away makes the gateway neither dead nor unready: traffic goes on. The answer names the problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from driftgauge.agent.outlets.http import Response, Route, json_response, metrics_route

STUCK_AFTER_S = 30.0
"""Seconds without a tick of the event loop after which a worker counts as stuck."""


class GatewayHealth:
    r"""Knows whether the event loop turns and whether requests are accepted.

    Parameters
    ----------
    problem : why events are not being published; "" while they are
    now : seconds of a clock that never goes back

    Examples
    --------
    >>> health = GatewayHealth(lambda: "no Kafka broker at broker:9092")
    >>> health.readyz().status
    503
    >>> health.accept_requests()
    >>> health.readyz().body
    b'{"status": "ready", "publishing": "no Kafka broker at broker:9092"}\n'
    """

    def __init__(self, problem: Callable[[], str] = lambda: "", *, now: Callable[[], float] = time.monotonic) -> None:
        self._problem, self._now = problem, now
        self._last_tick = now()
        self._not_ready = "starting"

    def tick(self) -> None:
        """Note that the event loop turns; called every second or so, from the loop."""
        self._last_tick = self._now()

    def accept_requests(self) -> None:
        """Note that requests are accepted."""
        self._not_ready = ""

    def drain(self) -> None:
        """Note that open requests are finished and no new ones should come."""
        self._not_ready = "draining"

    def healthz(self) -> Response:
        """200 while the event loop turns, else 503: the process should be restarted."""
        silent_s = self._now() - self._last_tick
        if silent_s > STUCK_AFTER_S:
            return json_response(
                {"status": "stuck", "reason": f"the event loop stands still for {silent_s:.0f} s"}, 503
            )
        return json_response({"status": "alive"})

    def readyz(self) -> Response:
        """200 while requests are accepted, else 503."""
        if self._not_ready:
            return json_response({"status": "not ready", "reason": self._not_ready}, 503)
        return json_response({"status": "ready", "publishing": self._problem() or "ok"})


def routes(health: GatewayHealth, registry: CollectorRegistry) -> dict[str, Route]:
    """The paths that every worker answers on its status port."""
    return {"/healthz": health.healthz, "/readyz": health.readyz, "/metrics": metrics_route(registry)}
