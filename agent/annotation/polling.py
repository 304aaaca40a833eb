"""Reconciliation again and again: what webhooks lose is found here, and deletions that they do not explain.

One thread for each tool. It keeps nothing that a restart would miss: a new process starts with a full pass.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from driftgauge.connectors.annotation.reconcile import Reconciliation
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.batches import batched
from driftgauge.connectors.labels.mapping import Refusal
from driftgauge.connectors.labels.summary import ImportSummary
from driftgauge.models.events import Label

log = logging.getLogger(__name__)

FULL_EVERY = 20
"""Every so many passes all tasks are read, the others read those that changed since the pass before."""

WOKEN_PAUSE_S = 1.0
"""Seconds between a pass and the next one when webhooks ask for it."""

BATCH = 500
"""Labels published at once."""


def take_changes(
    reconciliation: Reconciliation,
    publish: Callable[[Sequence[Label]], None],
    *,
    since: float | None = None,
    now: float,
) -> ImportSummary:
    """Publish what the agent lacks, in batches; return what it was.

    Parameters
    ----------
    since, now : see `Reconciliation.changes`

    Raises
    ------
    ConnectorError
        When the tool, the store or the broker cannot be reached. To do it again does no harm.
    """
    summary = ImportSummary()

    def found() -> Iterator[Label]:
        for response_id, read in reconciliation.changes(since=since, now=now):
            summary.add(response_id, read)
            yield from (one for one in read if not isinstance(one, Refusal))

    for batch in batched(found(), BATCH):
        publish(batch)
    return summary


class Poller:
    """Asks one tool for changes until it is stopped; no error ends it.

    Parameters
    ----------
    name : of the tool, for the log
    every_s : seconds between two passes
    now : UTC seconds
    """

    def __init__(
        self,
        name: str,
        reconciliation: Reconciliation,
        publish: Callable[[Sequence[Label]], None],
        *,
        every_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.passes = 0
        self._name, self._reconciliation, self._publish = name, reconciliation, publish
        self._every_s, self._now = every_s, now
        self._newest: float | None = None
        self._problem = ""
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll-{name}", daemon=True)

    def poll(self) -> ImportSummary:
        """Do one pass. After a failure the next one covers the same time again."""
        since = self._newest if self.passes % FULL_EVERY else None
        summary = take_changes(self._reconciliation, self._publish, since=since, now=self._now())
        self._newest = self._reconciliation.newest
        self.passes += 1
        return summary

    def wake(self) -> None:
        """Do the next pass soon."""
        self._woken.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after the pass it is in."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._note(self.poll())
            except Exception as error:
                self._fail(error)
            self._stopping.wait(WOKEN_PAUSE_S)
            self._woken.wait(self._every_s)

    def _note(self, summary: ImportSummary) -> None:
        self._problem = ""
        if summary.labels or summary.withdrawals:
            log.info("%s: %s labels and %s withdrawals", self._name, summary.labels, summary.withdrawals)

    def _fail(self, error: Exception) -> None:
        is_known = isinstance(error, ConnectorError)
        problem = str(error) if is_known else f"unexpected {type(error).__name__}"
        if problem != self._problem:
            log.warning("%s: %s; trying again", self._name, problem, exc_info=None if is_known else error)
        self._problem = problem
