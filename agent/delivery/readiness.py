"""Whether delivery is alive, and whether every sink takes alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from driftgauge.agent.delivery.sink_thread import SinkThread
from driftgauge.agent.outlets.http import Response, json_response


class Readiness:
    """Answers for some sinks. The reasons hold neither secrets nor addresses.

    Parameters
    ----------
    unready_after_s : seconds that a sink may fail
    now : seconds, as `time.monotonic`
    """

    def __init__(
        self, sinks: Sequence[SinkThread], unready_after_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._sinks, self._unready_after_s, self._now = sinks, unready_after_s, now

    def healthz(self) -> Response:
        """200: the process answers."""
        return json_response({"status": "alive"})

    def readyz(self) -> Response:
        """200 while no sink has failed for long, else 503 with those that did."""
        now, failing = self._now(), dict[str, str]()
        for sink in self._sinks:
            if sink.failing_since is not None and now - sink.failing_since >= self._unready_after_s:
                failing[sink.name] = f"{sink.problem}, for {now - sink.failing_since:.0f} s"
        if failing:
            return json_response({"status": "not ready", "sinks": failing}, 503)
        return json_response({"status": "ready"})
