"""Brings the alerts of a store to one receiver, in their order, with patience. One thread for each sink.

Alerts of one kind, state and context that follow each other are one message where the receiver takes groups. What the
receiver may take later is tried again and again and holds back what comes after it. What it will never take is skipped,
counted and logged. The cursor moves when a message is done, so a crash leads to a repeat with the same identity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from driftgauge.agent.delivery.sink_thread import SinkThread
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


class Courier(SinkThread):
    """Delivers to one sink until it is stopped.

    Parameters
    ----------
    name : of the sink, for the log and the cursor
    wanted : whether the sink gets an alert; the others are passed over
    pause : waits these seconds; returns True when there is to be no further attempt
    poll_s : seconds between two looks at the store
    longest_wait_s : the longest wait between two attempts, in seconds
    group_wait_s : seconds that a receiver of groups waits for further alerts
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
        group_wait_s: float = 0.0,
    ) -> None:
        super().__init__(name, pause, retry_s=poll_s)
        self.wanted = wanted
        self.cursor = cursors.start(name, start)
        self._receiver, self._alerts, self._cursors = receiver, alerts, cursors
        self._poll_s, self._longest_wait_s, self._group_wait_s = poll_s, longest_wait_s, group_wait_s

    def step(self) -> bool:
        """Deliver the next alerts; False when there are none, or when delivery is to stop.

        Raises
        ------
        ConnectorError
            When the store cannot be read.
        """
        batch = self._alerts.alerts_after(self.cursor, BATCH)
        if self._group_wait_s and self._receiver.takes_groups and any(map(self.wanted, batch)) and len(batch) < BATCH:
            if self._pause(self._group_wait_s):
                return False
            batch = self._alerts.alerts_after(self.cursor, BATCH)
        wanted = [alert for alert in batch if self.wanted(alert)]
        for group in groups(wanted) if self._receiver.takes_groups else ([alert] for alert in wanted):
            if not self._deliver(group):
                return False
            self._save(group[-1].number)
        if batch and self.cursor < batch[-1].number:
            self._save(batch[-1].number)
        return bool(batch)

    def turn(self) -> float:
        """Deliver the next alerts."""
        is_any = self.step()
        self.note("")
        return 0.0 if is_any else self._poll_s

    def _deliver(self, group: Sequence[Alert]) -> bool:
        """Whether these alerts are done with."""
        wait_s = FIRST_WAIT_S
        while (outcome := self._receiver.send(group)).result == "later":
            self.counts["failed"] += 1
            self.note(outcome.reason)
            if self._pause(self._wait(outcome, wait_s)):
                return False
            wait_s *= 2
        if outcome.result == "never":
            self.counts["failed"] += 1
            self.counts["skipped"] += len(group)
            log.error("%s: alert %s is skipped: %s", self.name, ", ".join(a.key for a in group), outcome.reason)
        else:
            self.counts["sent"] += len(group)
            self.note("")
        return True

    def _wait(self, outcome: Outcome, wait_s: float) -> float:
        own_s = min(wait_s, self._longest_wait_s)
        return own_s if outcome.wait_s is None else max(own_s, min(outcome.wait_s, LONGEST_ASKED_S))

    def _save(self, number: int) -> None:
        self.cursor = number
        self._cursors.save(self.name, number)


def groups(alerts: Iterable[Alert]) -> Iterator[list[Alert]]:
    """Alerts of one kind, state and context that follow each other, in order.

    A message that is sent again after a crash begins with the same alert, though more may have joined it.
    """
    for _, group in groupby(alerts, key=lambda alert: (alert.kind, alert.state, alert.fingerprint)):
        yield list(group)
