"""Brings the alerts of a store to one receiver, in their order, with patience. One thread for each sink.

An alert that the receiver may take later is tried again and again and holds back those after it. One that it will never
take is skipped, counted and logged. The cursor moves when an alert is done, so a crash leads to a repeat with the
same identity.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.receiver import Outcome, Receiver
from driftgauge.models.outputs import Alert

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_ASKED_S = 1.0, 3_600.0
"""Seconds before the second attempt, twice as many before each further one; the longest wait a receiver may ask for."""

BATCH = 100
"""Alerts read at once."""


class Alerts(Protocol):
    """The alerts of a store."""

    def alerts_after(self, number: int, limit: int) -> list[Alert]:
        """The first alerts with a higher number, in order."""
        ...


class Courier:
    """Delivers to one sink until it is stopped; no error ends it.

    Parameters
    ----------
    name : of the sink, for the log and the cursor
    wanted : whether the sink gets an alert; the others are passed over
    pause : waits these seconds; returns True when there is to be no further attempt
    poll_s : seconds between two looks at the store
    longest_wait_s : the longest wait between two attempts, in seconds

    Attributes
    ----------
    counts : alerts ``sent`` and ``skipped``, attempts ``failed``
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        alerts: Alerts,
        cursors: Cursors,
        *,
        wanted: Callable[[Alert], bool],
        start: int,
        pause: Callable[[float], bool],
        poll_s: float,
        longest_wait_s: float,
    ) -> None:
        self.name, self.wanted = name, wanted
        self.cursor = cursors.start(name, start)
        self.counts = Counter[str]()
        self._receiver, self._alerts, self._cursors, self._pause = receiver, alerts, cursors, pause
        self._poll_s, self._longest_wait_s = poll_s, longest_wait_s
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the attempt in progress is over; ``pause`` must return True by now."""
        self._thread.join()

    def step(self) -> bool:
        """Deliver the next alerts; False when there are none, or when delivery is to stop.

        Raises
        ------
        ConnectorError
            When the store cannot be read.
        """
        batch = self._alerts.alerts_after(self.cursor, BATCH)
        for alert in batch:
            if self.wanted(alert) and not self._deliver(alert):
                return False
            self._done(alert, is_last=alert is batch[-1])
        return bool(batch)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            try:
                is_over = self._pause(0.0 if self.step() else self._poll_s)
            except Exception as error:
                is_known = isinstance(error, ConnectorError)
                self._note(
                    str(error) if is_known else f"unexpected {type(error).__name__}", None if is_known else error
                )
                is_over = self._pause(self._longest_wait_s)

    def _deliver(self, alert: Alert) -> bool:
        """Whether the alert is done with."""
        wait_s = FIRST_WAIT_S
        while (outcome := self._receiver.send(alert)).result == "later":
            self.counts["failed"] += 1
            self._note(outcome.reason)
            if self._pause(self._wait(outcome, wait_s)):
                return False
            wait_s *= 2
        if outcome.result == "never":
            self.counts["failed"] += 1
            self.counts["skipped"] += 1
            log.error("%s: alert %s is skipped: %s", self.name, alert.key, outcome.reason)
        else:
            self.counts["sent"] += 1
            self._problem = ""
        return True

    def _wait(self, outcome: Outcome, wait_s: float) -> float:
        own_s = min(wait_s, self._longest_wait_s)
        return own_s if outcome.wait_s is None else max(own_s, min(outcome.wait_s, LONGEST_ASKED_S))

    def _done(self, alert: Alert, *, is_last: bool) -> None:
        self.cursor = alert.number
        if is_last or self.wanted(alert):
            self._cursors.save(self.name, alert.number)

    def _note(self, problem: str, error: Exception | None = None) -> None:
        """Log a problem once, until it is over or another one."""
        if problem != self._problem:
            log.warning("%s: %s; trying again", self.name, problem, exc_info=error)
        self._problem = problem


def close(couriers: Sequence[Courier]) -> None:
    """Wait for the threads of all couriers."""
    for courier in couriers:
        courier.join()
