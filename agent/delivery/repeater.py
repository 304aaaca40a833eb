"""Posts the state of alerts to an Alertmanager: what fires again and again, and each end once.

The state is the newest message about each alert. The cursor only tells which ends were taken, so a crash leads to a
repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from driftgauge.agent.delivery.sink_thread import SinkThread
from driftgauge.connectors.delivery.alertmanager import Alertmanager
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.models.alerts.guide import is_over
from driftgauge.models.outputs import Alert

log = logging.getLogger(__name__)


class States(Protocol):
    """The alerts of a store."""

    def alert_states(self) -> list[Alert]:
        """The newest message about each alert that fires or fired, in order."""
        ...


class Repeater(SinkThread):
    """Posts to one Alertmanager until it is stopped.

    Parameters
    ----------
    start : ends of alerts up to this number are not posted
    now : UTC seconds
    """

    def __init__(
        self,
        name: str,
        receiver: Alertmanager,
        alerts: States,
        cursors: Cursors,
        *,
        wanted: Callable[[Alert], bool],
        start: int,
        pause: Callable[[float], bool],
        now: Callable[[], float],
    ) -> None:
        super().__init__(name, pause, retry_s=receiver.interval_s)
        self.wanted = wanted
        self.cursor = cursors.start(name, start)
        self._receiver, self._alerts, self._cursors, self._now = receiver, alerts, cursors, now
        self._refused = frozenset[str]()

    def turn(self) -> float:
        """Post what fires and what ended since; after a failure the next turn does the same."""
        state = [alert for alert in self._alerts.alert_states() if self.wanted(alert)]
        open_ones = [alert for alert in state if not is_over(alert) or alert.number > self.cursor]
        if not open_ones or self._post(open_ones):
            newest = max((alert.number for alert in open_ones), default=0)
            if newest > self.cursor:
                self.cursor = newest
                self._cursors.save(self.name, newest)
        return self._receiver.interval_s

    def _post(self, alerts: list[Alert]) -> bool:
        """Whether all were taken, or never will be."""
        outcome = self._receiver.post(alerts, self._now())
        if outcome.result == "never" and len(alerts) > 1:  # one by one: none hides the others
            taken = [self._post([alert]) for alert in alerts]
            return all(taken)
        if outcome.result == "later":
            self.counts["failed"] += 1
            self.note(outcome.reason)
            return False
        if outcome.result == "never":
            self.counts["failed"] += 1
            self._skip(alerts[0], outcome.reason)
        else:
            self.counts["sent"] += len(alerts)
            self.note("")
        return True

    def _skip(self, alert: Alert, reason: str) -> None:
        if alert.key not in self._refused:
            self._refused |= {alert.key}
            self.counts["skipped"] += 1
            log.error("%s: alert %s is skipped: %s", self.name, alert.key, reason)
