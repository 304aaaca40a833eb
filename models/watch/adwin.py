"""ADWIN (Bifet and Gavaldà 2007, in the variant ADWIN2): detects a change of the mean of a stream of values.

It keeps as long a window of values as is consistent with one mean, and cuts the window when the means of two halves
differ by more than the bound of section 3.1 of the paper. After a detection it starts with an empty window. The window
is summed up in buckets of 1, 2, 4, … values, so its state is a few plain numbers for each power of two.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from driftgauge.models.watch.detector import Description, DetectorSettings, MeanChange

CLOCK = 8
"""Values from one test to the next."""

MAX_BUCKETS = 5
"""Buckets of one size; with one more, the two oldest become one of the next size."""

SHORTEST = 5
"""Values that both halves of a window need."""

Row: TypeAlias = tuple[list[float], list[float]]
"""Buckets of one size, oldest first: sums of values, and sums of squared deviations from the mean of the bucket."""


class Adwin:
    """ADWIN as a `MeanChangeDetector`. Memory grows with the logarithm of the window.

    Parameters
    ----------
    delta : probability of a false cut of one test
    grace : values before the first test

    Examples
    --------
    >>> detector = Adwin()
    >>> any(detector.update(0.9) for _ in range(1000)), any(detector.update(0.4) for _ in range(200))
    (False, True)
    """

    description: ClassVar[Description] = Description("adwin", "change_of_mean", 0.0, 1.0, max_state_bytes=8_192)

    def __init__(self, delta: float = 0.002, grace: int = 30) -> None:
        self.delta = delta
        self.grace = grace
        self.change: MeanChange | None = None
        self._start()

    def _start(self) -> None:
        self._is_cut = False
        self._width, self._total, self._squares = 0, 0.0, 0.0
        self._rows: list[Row] = []

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        return cls(settings.delta, settings.grace)

    def false_alarm_share(self, n_values: int) -> float:
        """``delta`` for every test, by the union bound; far fewer in practice."""
        return min(self.delta * (n_values // CLOCK), 1.0)

    def update(self, value: float, /) -> bool:
        """Take the next value; returns whether the window was cut. NaN is ignored."""
        self.change = None
        if value != value:
            return False
        if self._is_cut:
            self._start()
        width = self._width
        if width:
            self._squares += width * (value - self._total / width) ** 2 / (width + 1)
        self._width, self._total = width + 1, self._total + value
        self._add(0, value, 0.0)
        if self._width % CLOCK or self._width <= self.grace:
            return False
        self._cut()
        return self._is_cut

    def _add(self, size: int, total: float, squares: float) -> None:
        """Add a bucket of 2^size values; merge the two oldest of that size when there are too many."""
        if size == len(self._rows):
            self._rows.append(([], []))
        totals, deviations = self._rows[size]
        totals.append(total)
        deviations.append(squares)
        if len(totals) > MAX_BUCKETS:
            between = (totals[0] - totals[1]) ** 2 / (2 << size)
            merged = totals[0] + totals[1], deviations[0] + deviations[1] + between
            del totals[:2], deviations[:2]
            self._add(size + 1, *merged)

    def _cut(self) -> None:
        """Drop the oldest buckets while two halves of the window differ, and describe the change."""
        rows = range(len(self._rows) - 1, -1, -1)
        sizes = np.array([1 << i for i in rows for _ in self._rows[i][0]])
        totals = np.array([total for i in rows for total in self._rows[i][0]])
        width, total, first = self._width, self._total, 0
        while self._differs(sizes[first:], totals[first:]):
            self._drop_oldest()
            first += 1
        if first:
            self._is_cut = True
            before = (total - self._total) / (width - self._width)
            self.change = MeanChange(before, self._total / self._width, self._width, width)

    def _differs(self, sizes: np.ndarray[Any, Any], totals: np.ndarray[Any, Any]) -> bool:
        """Whether some cut between two buckets separates two means that differ by more than the bound."""
        n_before, before = sizes.cumsum(), totals.cumsum()
        n_after = self._width - n_before
        may_cut = (n_before >= SHORTEST) & (n_after >= SHORTEST)
        n_before, n_after, before = n_before[may_cut], n_after[may_cut], before[may_cut]
        gap = np.abs(before / n_before - (self._total - before) / n_after)
        share = 1 / (n_before - SHORTEST + 1) + 1 / (n_after - SHORTEST + 1)
        error = math.log(2 * math.log(self._width) / self.delta)
        variance = self._squares / self._width
        return bool((gap > np.sqrt(2 * share * variance * error) + 2 / 3 * error * share).any())

    def _drop_oldest(self) -> None:
        totals, deviations = self._rows[-1]
        n, total, squares = 1 << (len(self._rows) - 1), totals.pop(0), deviations.pop(0)
        self._width, self._total = self._width - n, self._total - total
        between = n * self._width * (total / n - self._total / self._width) ** 2 / (n + self._width)
        self._squares -= squares + between
        if not totals:
            self._rows.pop()

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self._is_cut, self._width, self._total, self._squares, self._rows]

    def restore(self, state: list[Any], /) -> Self:
        """Continue from a snapshot; returns self."""
        self._is_cut, self._width, self._total, self._squares, rows = state
        self._rows = [(list(totals), list(squares)) for totals, squares in rows]
        return self
