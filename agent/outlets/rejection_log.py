"""Dead letters in the log: the first of each reason at once, and after it at most one line a minute with counts."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.phrases import counts
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.models.events import Rejected
from driftgauge.models.outputs import Output

log = logging.getLogger(__name__)

EVERY_S = 60.0


class RejectionLog(Observer):
    """An observer of the loop. Reasons are few, so is what it keeps."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._next_at = float("-inf")

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Log the first dead letter of each reason, and count the others."""
        for output in outputs:
            if not isinstance(output, Rejected):
                continue
            if output.reason in self._seen:
                self._counts[output.reason] += 1
            else:
                self._seen.add(output.reason)
                self._log_first(output)
        self._log_counts()

    def failure(self, error: ConnectorError | None) -> None:  # noqa: ARG002 - an observer's shape
        """Log the counts when it is time: this is called in every round, also when no record came."""
        self._log_counts()

    def _log_first(self, letter: Rejected) -> None:
        place = f" ({letter.topic}/{letter.partition}/{letter.offset})" if letter.topic else ""
        log.warning(
            "dead letter %s: %s%s; driftgauge dead-letters list shows it, further ones are counted here once a minute",
            letter.reason, letter.detail, place,
        )  # fmt: skip
        self._next_at = max(self._next_at, self._now() + EVERY_S)

    def _log_counts(self) -> None:
        if not self._counts or self._now() < self._next_at:
            return
        log.warning("%d more dead letters: %s", self._counts.total(), counts(self._counts))
        self._counts.clear()
        self._next_at = self._now() + EVERY_S
