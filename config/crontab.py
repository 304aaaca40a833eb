"""Crontab lines as cron reads them: five fields, or a word such as ``@daily``.

Numbers, names, lists, ranges and steps are those of crontab(5). Weekday 0 and 7 are Sunday. When both the day of the
month and the weekday are restricted (neither field begins with ``*``), a day that meets either of them is meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LONGEST_GAP_DAYS = 366 * 8 + 1  # from one 29th of February to the next
_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Crontab:
    """The times that a crontab line names; months count from 1, weekdays from 0 for Sunday.

    ``is_either_day``: a day needs to be among ``days`` or among ``weekdays``; otherwise it needs to be among both.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    is_either_day: bool


def parse_crontab(line: str) -> Crontab:
    """Read a crontab line.

    Raises
    ------
    ValueError
        When a field is wrong, or when no day meets the line.

    Examples
    --------
    >>> parse_crontab("0 6 * * mon-fri").weekdays, parse_crontab("*/20 5-7 * * 7").minutes
    ((1, 2, 3, 4, 5), (0, 20, 40))
    >>> parse_crontab("0 0 30 2 *")
    Traceback (most recent call last):
    ValueError: no month has such a day
    """
    fields = WORDS.get(line.strip().lower(), line).split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields; minute, hour, day of the month, month and weekday are needed")
    minute, hour, day, month, weekday = fields
    crontab = Crontab(
        minutes=_values("minute", minute, 0, 59),
        hours=_values("hour", hour, 0, 23),
        days=_values("day of the month", day, 1, 31),
        months=_values("month", month, 1, 12, _MONTHS),
        weekdays=tuple(sorted({value % 7 for value in _values("weekday", weekday, 0, 7, _WEEKDAYS)})),
        is_either_day=not (day.startswith("*") or weekday.startswith("*")),
    )
    if not crontab.is_either_day and crontab.days[0] > max(_LONGEST[month - 1] for month in crontab.months):
        raise ValueError("no month has such a day")
    return crontab


def check_crontab(line: str) -> None:
    """Raise `ValueError`, worded for the setting ``cron``, unless this is a crontab line."""
    try:
        parse_crontab(line)
    except ValueError as error:
        raise ValueError(f"cron is not a crontab line: {error}") from None


def latest_time(line: Crontab, at: float, zone: tzinfo = UTC) -> float:
    """The newest time in UTC seconds, not later than ``at``, that a crontab line names in a time zone.

    >>> latest_time(parse_crontab("30 6 * * *"), 86_400.0 * 5)  # midnight: the newest is that of the day before
    369000.0
    """
    today = datetime.fromtimestamp(at, zone).date()
    times = [(hour, minute) for hour in reversed(line.hours) for minute in reversed(line.minutes)]
    for n_days in range(_LONGEST_GAP_DAYS):
        day = today - timedelta(days=n_days)
        if _has_day(line, day):
            moments = (datetime(day.year, day.month, day.day, *time, tzinfo=zone).timestamp() for time in times)
            if (found := next((moment for moment in moments if moment <= at), None)) is not None:
                return found
    raise ValueError("no day meets the line")


def _has_day(line: Crontab, day: date) -> bool:
    among = day.day in line.days, day.isoweekday() % 7 in line.weekdays
    return day.month in line.months and (any(among) if line.is_either_day else all(among))


def _values(field: str, text: str, low: int, high: int, names: Sequence[str] = ()) -> tuple[int, ...]:
    """The values of one field, in order."""
    values: set[int] = set()
    for item in text.lower().split(","):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise ValueError(f"the {field} is not a list of numbers, ranges and steps")
        first, last, step = found.groups()
        begin = low if first is None else _number(field, first, low, high, names)
        if last is not None:
            end = _number(field, last, low, high, names)
            end = 7 if names == _WEEKDAYS and end == 0 and begin > 0 else end  # sat-sun
        else:
            end = begin if first is not None and step is None else high
        if end < begin:
            raise ValueError(f"the {field} has a range that ends before it begins")
        if step is not None and not 1 <= int(step) <= high:
            raise ValueError(f"the {field} has a step that is not between 1 and {high}")
        values.update(range(begin, end + 1, int(step or 1)))
    return tuple(sorted(values))


def _number(field: str, text: str, low: int, high: int, names: Sequence[str]) -> int:
    if text in names:
        return low + names.index(text)
    if not text.isdecimal():
        raise ValueError(f"the {field} has a word that is not one of {', '.join(names)}" if names else
                         f"the {field} is not a number")  # fmt: skip
    if not low <= int(text) <= high:
        raise ValueError(f"the {field} is not between {low} and {high}")
    return int(text)
