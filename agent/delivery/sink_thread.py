"""The thread of one sink: turn after turn until it is stopped; no error ends it."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable

from driftgauge.connectors.base import ConnectorError

log = logging.getLogger(__name__)


class SinkThread(ABC):
    """Takes turns for one sink.

    Parameters
    ----------
    name : of the sink, for the log
    pause : waits these seconds; returns True when there is to be no further turn or attempt
    retry_s : seconds to wait after an error

    Attributes
    ----------
    counts : alerts ``sent`` and ``skipped``, attempts ``failed``
    problem : why attempts fail at present; empty: they do not
    failing_since : when they began to, by `time.monotonic`; None: they do not
    """

    def __init__(self, name: str, pause: Callable[[float], bool], *, retry_s: float) -> None:
        self.name = name
        self.counts = Counter[str]()
        self._pause, self._retry_s = pause, retry_s
        self.problem = ""
        self.failing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)

    @abstractmethod
    def turn(self) -> float:
        """Do what is to be done now; return the seconds until the next turn. Errors are logged and tried again."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the attempt in progress is over; ``pause`` must return True by now."""
        self._thread.join()

    def note(self, problem: str, error: Exception | None = None) -> None:
        """Log a problem once, until it is over (an empty text) or another one."""
        if problem and problem != self.problem:
            log.warning("%s: %s; trying again", self.name, problem, exc_info=error)
        since = time.monotonic() if self.failing_since is None else self.failing_since
        self.problem, self.failing_since = problem, since if problem else None

    def _run(self) -> None:
        is_over = False
        while not is_over:
            try:
                is_over = self._pause(self.turn())
            except Exception as error:
                is_known = isinstance(error, ConnectorError)
                problem = str(error) if is_known else f"unexpected {type(error).__name__}"
                self.note(problem, None if is_known else error)
                is_over = self._pause(self._retry_s)


def close(threads: Iterable[SinkThread]) -> None:
    """Wait for the end of all threads."""
    for one in threads:
        one.join()
