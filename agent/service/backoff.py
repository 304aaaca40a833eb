"""Waiting between attempts at something that may come back: a broker, a database."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from driftgauge.agent.outlets.observer import Observer
from driftgauge.connectors.base import ConnectorError

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


class StoppedError(Exception):
    """The agent was stopped while it waited for something that it needs before it can serve."""


class Backoff:
    """Waits between attempts, ``limit_s`` seconds in all.

    Each wait is twice as long as the one before, with jitter so that many agents do not come back at the same moment.
    Setting ``stopping`` ends a wait; ``observers`` are given the error.
    """

    def __init__(self, limit_s: float, stopping: threading.Event, observers: Sequence[Observer] = ()) -> None:
        self.limit_s = limit_s
        self._stopping = stopping
        self._observers = observers
        self._waited_s = 0.0

    def wait(self, error: ConnectorError) -> None:
        """Wait before the next attempt; raise the error when waiting cannot cure it or the limit is reached."""
        if not error.retriable or self._waited_s >= self.limit_s:
            raise error
        wait_s = min(max(self._waited_s, FIRST_WAIT_S), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        log.warning("%s; trying again in %.1f s", error, wait_s)
        for observer in self._observers:
            observer.failure(error)
        self._stopping.wait(wait_s)
        self._waited_s += wait_s

    def reset(self) -> None:
        """Forget earlier waits: the next failure is a new one."""
        self._waited_s = 0.0

    def until(self, attempt: Callable[[], T]) -> T:
        """Return the value of the first attempt that succeeds; raise `StoppedError` when stopped before."""
        while not self._stopping.is_set():
            try:
                return attempt()
            except ConnectorError as error:
                self.wait(error)
        raise StoppedError
