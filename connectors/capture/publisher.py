"""The thread that publishes the outbox. It needs no broker to start, and retries until it is closed.

At least once: messages of which the broker did not acknowledge all are sent again. The agent recognises repeats by id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from driftgauge.connectors.base import ConnectorError, Sink
from driftgauge.connectors.capture.outbox import Outbox

log = logging.getLogger(__name__)

POLL_S = 0.5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
"""Seconds between attempts while the broker is away; each wait is twice as long as the one before."""


class Publisher:
    """A thread that publishes the messages of an outbox.

    No error ends the thread: each is logged when it appears, shown by `problem`, and the attempt repeated.

    Parameters
    ----------
    prepare : called at the start until it raises no error, also while there are no messages: it finds out whether the
        broker can be reached, and may create topics
    oversized : number of messages that the sink left out so far because the broker never accepts them
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink,
        *,
        prepare: Callable[[], object] = lambda: None,
        oversized: Callable[[], int] = lambda: 0,
    ) -> None:
        self.failures = 0
        self._outbox, self._sink, self._prepare, self._oversized = outbox, sink, prepare, oversized
        self._is_prepared = False
        self._problem = ""
        self._wait_s = 0.0
        self._stopping = threading.Event()
        self._draining_ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def problem(self) -> str:
        """Why the last attempt failed, the one at the start included; "" where it did not."""
        return self._problem

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Publish what is queued, for ``timeout_s`` at most; the rest is dropped as ``shutdown``."""
        self._stopping.set()
        if not self._outbox.counts().queued:  # nothing waits, so the broker is not waited for either
            self._draining_ends.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._draining_ends.set()
        if n_dropped := self._outbox.drop_all("shutdown"):  # the metrics that say so end with the process
            log.warning("events and labels dropped at the end, unpublished: %s", n_dropped)

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._publish_once()
                self._note(None)
            except Exception as error:
                self._note(error)
            self._draining_ends.wait(self._wait_s)
        self._sink.close()

    def _is_over(self) -> bool:
        return self._draining_ends.is_set() or (self._stopping.is_set() and not self._outbox.counts().queued)

    def _publish_once(self) -> None:
        if not self._is_prepared:
            self._prepare()
            self._is_prepared = True
        messages = self._outbox.wait(timeout_s=0.0 if self._stopping.is_set() else POLL_S)
        if not messages:
            return
        before = self._oversized()
        self._sink.publish(messages)
        if not self._draining_ends.is_set():  # after that the outbox is empty
            self._outbox.published(len(messages), refused=self._oversized() - before)

    def _note(self, error: Exception | None) -> None:
        if error is None:
            self._wait_s, self._problem = 0.0, ""
            return
        self.failures += 1
        known = isinstance(error, ConnectorError)
        problem = str(error) if known else f"unexpected {type(error).__name__}"
        if problem != self._problem:
            log.warning("events are not published: %s; trying again", problem, exc_info=None if known else error)
        self._problem = problem
        self._wait_s = min(max(2 * self._wait_s, FIRST_WAIT_S), LONGEST_WAIT_S)
