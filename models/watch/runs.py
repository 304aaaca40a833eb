"""Where the newest values of a stream began to differ, and from what to what: Page's cumulative sum (1954).

It describes a change that a detector found; it detects nothing itself. Constant memory, constant cost for a value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from driftgauge.models.watch.detector import MeanChange

_SLACK = 0.05
"""Half of the smallest distance from one half whose beginning is searched."""

_Run: TypeAlias = tuple[float, int, float, float]  # height, values, their total, event time of the first
_NONE: _Run = (0.0, 0, 0.0, 0.0)


class Runs:
    """Takes values with their distances from what was expected.

    Examples
    --------
    >>> runs = Runs()
    >>> for i in range(100):
    ...     runs.update(-0.4 if i % 2 else 0.4, 7.0 + i % 2)
    >>> for _ in range(20):
    ...     runs.update(0.45, 12.0)
    >>> change = runs.change
    >>> round(change.before, 1), change.after, change.n_after, change.n_seen
    (7.5, 12.0, 20, 120)
    """

    __slots__ = ("_down", "_n", "_squares", "_total", "_up")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start again without values."""
        self._n, self._total, self._squares = 0, 0.0, 0.0
        self._up, self._down = _NONE, _NONE

    def update(self, surplus: float, value: float, event_time: float = 0.0) -> None:
        """Take the next value, which is so far, in [-1/2, 1/2], above what was expected."""
        self._n, self._total, self._squares = self._n + 1, self._total + value, self._squares + value * value
        self._up = _continued(self._up, surplus, value, event_time)
        self._down = _continued(self._down, -surplus, value, event_time)

    @property
    def change(self) -> MeanChange | None:
        """What the newest values suggest; None when they are as expected."""
        _, n_after, total, since = max(self._up, self._down)
        if not n_after:
            return None
        n_before, after = self._n - n_after, total / n_after
        before = (self._total - total) / n_before if n_before else self._total / self._n
        variance = self._squares / self._n - (self._total / self._n) ** 2
        return MeanChange(before, after, n_after, self._n, math.sqrt(max(variance, 0.0)), since)

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self._n, self._total, self._squares, self._up, self._down]

    def restore(self, state: Sequence[Any]) -> Runs:
        """Continue from a snapshot; returns self."""
        self._n, self._total, self._squares, up, down = state
        self._up, self._down = (up[0], up[1], up[2], up[3]), (down[0], down[1], down[2], down[3])
        return self


def _continued(run: _Run, towards: float, value: float, event_time: float) -> _Run:
    """A cumulative sum, the values since it was last 0 and their total, after one more value."""
    height, n, total, since = run
    height += towards - _SLACK
    return (height, n + 1, total + value, since if n else event_time) if height > 0 else _NONE
