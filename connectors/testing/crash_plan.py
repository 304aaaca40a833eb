"""Crashes at any effect: what a test needs to prove that work survives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Crash(BaseException):
    """The process ended here. Not an `Exception`: only the test may catch it."""


class CrashPlan:
    """Counts the points at which a process can die, and dies at one of them.

    Attributes
    ----------
    at : the number of the point to die at, from 0; None: the process lives
    points : the points reached so far, by name

    Examples
    --------
    >>> def work(plan):
    ...     with plan.effect("write"):
    ...         pass
    >>> survey = CrashPlan()
    >>> work(survey)
    >>> survey.points
    ['before write', 'after write']
    >>> try:
    ...     work(CrashPlan(at=1))
    ... except Crash as crash:
    ...     print(crash)
    after write
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.points: list[str] = []

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        """An effect that the outside world can see: a point before it, a point after it."""
        self.reach(f"before {name}")
        yield
        self.reach(f"after {name}")

    def reach(self, point: str) -> None:
        """Note a point at which the process could die, and die if it is the one that was chosen."""
        self.points.append(point)
        if len(self.points) - 1 == self.at:
            raise Crash(point)
