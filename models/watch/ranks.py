"""Values of any range as ranks in [0, 1] among earlier values of the same hour of the day.

Change detectors promise something for values in [0, 1] only, and traffic has a daily pattern. A rank is in [0, 1]
whatever the values are, and compares like with like: while values of one hour of the day are exchangeable, ranks are
spread evenly over [0, 1] at each hour (Mondrian conformal prediction: Vovk, Gammerman and Shafer 2005, section 4.5).

On the first day, and while there are few values, a value is compared with all values since the last change. Counts of
values between fixed edges stand for the values, so memory is bounded: `N_BINS` counts for each hour.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

HOUR_S = 3_600.0
N_FIRST = 32
"""Values from which the edges are made; they get no rank."""

MIN_OF_HOUR = 16
"""Earlier values for each hour of the season, on average, that are enough to compare by hour."""

_OUTER = (0.25, 1.0)  # further edges, in ranges of the first values below and above them
N_BINS = N_FIRST // 2 + 2 * len(_OUTER) + 1


class RunningRanks:
    """Ranks of the values of one signal.

    Parameters
    ----------
    season_hours : hours after which the pattern of the traffic repeats: 24 a day, 168 a week, 1: there is none

    Attributes
    ----------
    is_like_with_like : whether the newest rank is one among values of the same hour of the season

    Examples
    --------
    >>> ranks = RunningRanks()
    >>> found = [ranks.of(float(i % 10), event_time=0.0) for i in range(200)]
    >>> found[0], round(ranks.of(0.0, event_time=0.0), 1), round(ranks.of(25.0, event_time=0.0), 1)
    (nan, 0.1, 1.0)
    """

    __slots__ = ("_by_hour", "_edges", "_first", "_n", "_recent", "_since", "is_like_with_like", "season_hours")

    def __init__(self, season_hours: int = 24) -> None:
        self.season_hours = season_hours
        self.is_like_with_like = False
        self._forget_all()

    def _forget_all(self) -> None:
        self._first: list[float] = []
        self._edges: list[float] = []
        self._recent = [0] * N_BINS
        self._by_hour: dict[int, list[int]] = {}
        self._n, self._since = 0, 0  # values counted by hour, and the hour of the first one

    def of(self, value: float, event_time: float) -> float:
        """The rank of the next value, which is finite, among those before it; NaN for the first `N_FIRST` values."""
        if not self._edges:
            self._first.append(value)
            if len(self._first) == N_FIRST:
                self._edges, self._first = _edges(self._first), []
            return math.nan
        at, hour = bisect.bisect_right(self._edges, value), math.floor(event_time / HOUR_S)
        self._since = self._since if self._n else hour
        is_full_season = hour - self._since >= self.season_hours > 1
        self.is_like_with_like = is_full_season and self._n >= MIN_OF_HOUR * self.season_hours
        of_hour = self._by_hour.setdefault(hour % self.season_hours, [0] * N_BINS)
        rank = _rank(of_hour if self.is_like_with_like else self._recent, at)
        of_hour[at] += 1
        self._recent[at] += 1
        self._n += 1
        return rank

    def forget(self) -> None:
        """Start again after a change: a change between hours leaves the values of each hour comparable."""
        if self.is_like_with_like:
            self._forget_all()
        else:
            self._recent = [0] * N_BINS

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        numbers = [self.season_hours, self.is_like_with_like, self._n, self._since]
        return [numbers, self._first, self._edges, self._recent, sorted(self._by_hour.items())]

    def restore(self, state: Sequence[Any]) -> RunningRanks:
        """Continue from a snapshot, or without values where that had another season; returns self."""
        numbers, *values = state
        if numbers[0] == self.season_hours:
            _, self.is_like_with_like, self._n, self._since = numbers
            self._first, self._edges, self._recent, by_hour = values
            self._by_hour = dict(by_hour)
        return self


def _edges(first: Sequence[float]) -> list[float]:
    """Edges between bins: every other one of the first values, and some beyond them."""
    values = sorted(first)
    low, high = values[0], values[-1]
    width = high - low or abs(high) or 1.0
    return [*(low - width * o for o in reversed(_OUTER)), *values[1::2], *(high + width * o for o in _OUTER)]


def _rank(counts: Sequence[int], at: int) -> float:
    """The middle rank of a value in bin ``at`` among the counted values and itself."""
    return (sum(counts[:at]) + (counts[at] + 1) / 2) / (sum(counts) + 1)
