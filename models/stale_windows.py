"""A mark on a closed window that a late response or label changed: the window is to be estimated again."""

from __future__ import annotations

from typing import NamedTuple

from driftgauge.models.series import SeriesKey


class StaleWindow(NamedTuple):
    """One closed window that is to be estimated again. Marks sort in the order in which that happens.

    Attributes
    ----------
    boundary : event time of the boundary that came next when the window was marked; the oldest marks go first
    series, end : which window; neighbouring windows of a series are estimated together, because they share rows
    """

    boundary: float
    series: SeriesKey
    end: float
