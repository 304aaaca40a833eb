"""Values of any range as ranks in [0, 1] among earlier values of the same hour of the season.

Change detectors promise something for values in [0, 1] only, and traffic has a pattern by day and week. A rank is in
[0, 1] whatever the values are, and compares like with like: while the values of one cell of the season (`seasons`) are
exchangeable, ranks have the mean one half in each cell from its first value on (Mondrian conformal prediction: Vovk,
Gammerman and Shafer 2005, section 4.5).

Counts of values between fixed edges stand for the values, so memory is bounded: `N_BINS` counts for each cell.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence
from typing import Any

from driftgauge.models.watch.seasons import N_CELLS, Season, cell

N_FIRST = 32
"""Values from which the edges are made; they get no rank."""

_OUTER = (0.25, 1.0)  # further edges, in ranges of the first values below and above them
N_BINS = N_FIRST // 2 + 2 * len(_OUTER) + 1
_MOST = 65_535
"""The largest count; a cell that reaches it is halved, which no rank among so many values shows."""


class RunningRanks:
    """Ranks of the values of one signal.

    Parameters
    ----------
    season : which earlier values a value is compared with

    Examples
    --------
    >>> ranks = RunningRanks("none")
    >>> found = [ranks.of(float(i % 10), event_time=0.0) for i in range(200)]
    >>> found[0], round(ranks.of(0.0, event_time=0.0), 1), round(ranks.of(25.0, event_time=0.0), 1)
    (nan, 0.1, 1.0)
    """

    __slots__ = ("_counts", "_edges", "_first", "_totals", "season")

    def __init__(self, season: Season = "day") -> None:
        self.season: Season = season
        self.forget()

    def forget(self) -> None:
        """Start again without values."""
        self._first: list[float] = []
        self._edges: list[float] = []
        n_cells = N_CELLS[self.season]
        self._counts, self._totals = array("H", bytes(2 * N_BINS * n_cells)), [0] * n_cells

    def of(self, value: float, event_time: float) -> float:
        """The rank of the next value, which is finite, among those before it; NaN for the first `N_FIRST` values."""
        if not self._edges:
            self._first.append(value)
            if len(self._first) == N_FIRST:
                self._edges, self._first = _edges(self._first), []
            return math.nan
        here = cell(self.season, event_time)
        start, counts = N_BINS * here, self._counts
        at = start + bisect.bisect_right(self._edges, value)
        rank = (sum(counts[start:at]) + (counts[at] + 1) / 2) / (self._totals[here] + 1)
        if counts[at] == _MOST:
            counts[start : start + N_BINS] = array("H", [n // 2 for n in counts[start : start + N_BINS]])
            self._take_counts(counts)
        counts[at] += 1
        self._totals[here] += 1
        return rank

    def _take_counts(self, counts: array[int]) -> None:
        """Take the counts of all cells, and their totals, which are kept because every rank needs one."""
        self._counts = counts
        self._totals = [sum(counts[start : start + N_BINS]) for start in range(0, len(counts), N_BINS)]

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self.season, self._first, self._edges, self._counts.tobytes() if self._edges else b""]

    def restore(self, state: Sequence[Any]) -> RunningRanks:
        """Continue from a snapshot, or without values where that had another season; returns self."""
        season, first, edges, counts = state
        if season == self.season:
            self._first, self._edges = first, edges
            if edges:
                self._take_counts(array("H", counts))
        return self


def _edges(first: Sequence[float]) -> list[float]:
    """Edges between bins: every other one of the first values, and some beyond them."""
    values = sorted(first)
    low, high = values[0], values[-1]
    width = high - low or abs(high) or 1.0
    return [*(low - width * o for o in reversed(_OUTER)), *values[1::2], *(high + width * o for o in _OUTER)]
