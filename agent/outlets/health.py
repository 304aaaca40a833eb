"""Whether the agent is alive and ready, and the paths that say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from driftgauge.agent.outlets.http import Response, Route, json_response, metrics_route
from driftgauge.agent.outlets.observer import Observer
from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.outputs import Output

if TYPE_CHECKING:  # the state brings the classifiers: two seconds, which the process for HTTP does not need
    from driftgauge.agent.core.state import State

STATUS, ROLLBACK = "status", "rollback"
"""What the API asks the agent for besides pages: how it is, and to go back to a classifier version."""


class Health(Observer):
    """An observer of the loop that knows whether the loop is alive and whether it is ready.

    The loop is *alive* while it reports to its observers at least every ``stuck_after_s`` seconds, also while it waits
    for a broker or a database. It is *ready* while it processes events, and not before its first round.
    """

    def __init__(self, *, stuck_after_s: float = 300.0, now: Callable[[], float] = time.monotonic) -> None:
        self.stuck_after_s = stuck_after_s
        self._now = now
        self._last_report = now()
        self._not_ready: str | None = "starting"
        self._watermark: float | None = None
        self._lag: Mapping[TopicPartition, int] = {}

    def resumed(self, state: State) -> None:
        """Note the watermark."""
        self._watermark = state.watermark

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Note a committed batch: the loop is alive."""
        self._last_report = self._now()
        self._watermark = state.watermark

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """Note the lag; an agent that is behind is alive and ready."""
        self._lag = dict(lag)

    def failure(self, error: ConnectorError | None) -> None:
        """Note that the loop finished a round (None), or that it waits because of this error."""
        self._last_report = self._now()
        self._not_ready = None if error is None else str(error)

    def healthz(self) -> Response:
        """200 while the loop is alive, else 503: the process should be restarted."""
        if self._silent_s > self.stuck_after_s:
            reason = f"the loop has not finished a round for {self._silent_s:.0f} s"
            return json_response({"status": "stuck", "reason": reason}, 503)
        return json_response({"status": "alive"})

    def readyz(self) -> Response:
        """200 while events are being processed, else 503 with the cause."""
        if self._not_ready is None:
            return json_response({"status": "ready"})
        return json_response({"status": "not ready", "reason": self._not_ready}, 503)

    def status(self) -> Response:
        """All that is known, for the API."""
        return json_response(
            {
                "alive": self._silent_s <= self.stuck_after_s,
                "ready": self._not_ready is None,
                "reason": self._not_ready,
                "watermark": rfc3339(self._watermark),
                "lag": {f"{topic}/{partition}": n for (topic, partition), n in self._lag.items()},
            }
        )

    @property
    def _silent_s(self) -> float:
        return self._now() - self._last_report


def routes(health: Health, registry: CollectorRegistry) -> dict[str, Route]:
    """The paths every agent answers."""
    return {
        "/healthz": health.healthz,
        "/readyz": health.readyz,
        "/metrics": metrics_route(registry),
    }
