"""The pattern that traffic repeats: which earlier values a value is compared with. Times are UTC.

Each hour of a season is a *cell*. Values are compared with earlier values of their own cell and with no others, so a
first night, or a first weekend, is no change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

HOUR_S, DAY_S = 3_600.0, 86_400.0

Season: TypeAlias = Literal["none", "day", "workdays", "week"]
"""``day``: the hours of the day; ``workdays``: those of Monday to Friday, and those of Saturday and Sunday; ``week``:
the hours of the week."""

N_CELLS: Mapping[Season, int] = {"none": 1, "day": 24, "workdays": 48, "week": 168}
_SATURDAY = 5


def cell(season: Season, event_time: float) -> int:
    """The cell of an event time, in [0, N_CELLS[season]).

    >>> monday, sunday = 4 * DAY_S, 3 * DAY_S  # the epoch began on a Thursday
    >>> [cell("workdays", monday + 7_200.0), cell("workdays", sunday + 7_200.0), cell("week", sunday + 7_200.0)]
    [2, 26, 146]
    """
    if season == "none":
        return 0
    hour = math.floor(event_time / HOUR_S) % 24
    if season == "day":
        return hour
    weekday = (math.floor(event_time / DAY_S) + 3) % 7
    return hour + 24 * (weekday if season == "week" else weekday >= _SATURDAY)
