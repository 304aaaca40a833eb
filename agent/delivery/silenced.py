"""Which alerts are silenced now, by the silences of the store; they are read again every `READ_EVERY_S` seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.silences import silences
from driftgauge.models.alerts.silence import Silence
from driftgauge.models.outputs import Alert

READ_EVERY_S = 5.0


class Silenced:
    """Whether an alert is silenced now; for the threads of all sinks.

    Parameters
    ----------
    now : UTC seconds
    """

    def __init__(self, queries: StoreQueries, now: Callable[[], float]) -> None:
        self._queries, self._now = queries, now
        self._found: list[Silence] = []
        self._read_at = 0.0
        self._lock = threading.Lock()

    def __call__(self, alert: Alert) -> bool:
        """Whether a silence matches.

        Raises
        ------
        ConnectorError
            When the store cannot be read.
        """
        now = self._now()
        with self._lock:
            if not 0 <= now - self._read_at < READ_EVERY_S:
                self._found, self._read_at = silences(self._queries, now), now
            found = self._found
        return any(silence.matches(alert, now) for silence in found)


@dataclass(frozen=True)
class Unsilenced:
    """The alerts that a sink gets, without those that are silenced."""

    wanted: Callable[[Alert], bool]
    is_silenced: Callable[[Alert], bool]

    def __call__(self, alert: Alert) -> bool:
        """Whether the sink gets this alert now."""
        return self.wanted(alert) and not self.is_silenced(alert)
