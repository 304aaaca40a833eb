"""Which period of event time a report covers: a span that the user gives, or a calendar period of a time zone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from driftgauge.connectors.publishing.payload import rfc3339

Calendar: TypeAlias = Literal["day", "week", "month"]


class Span(NamedTuple):
    """A period ``[start, end)`` in UTC seconds of event time."""

    start: float
    end: float


def parse_span(first: str, end: str, timezone: str) -> Span:
    """The span between two moments that `parse_moment` reads.

    Raises
    ------
    ValueError
        When a moment cannot be read, or the end is not after the start.
    """
    span = Span(parse_moment(first, timezone), parse_moment(end, timezone))
    if span.start >= span.end:
        relation = "is empty" if span.start == span.end else "ends before it begins"
        shown = " to ".join(str(rfc3339(at)) for at in span)
        raise ValueError(f"the period {relation}: {shown}")
    return span


def parse_moment(text: str, timezone: str) -> float:
    """UTC seconds of a date, which means the first moment of that day in the time zone, or of an RFC 3339 time.

    Raises
    ------
    ValueError
        When it is neither, or a time without an offset.

    Examples
    --------
    >>> parse_moment("2026-10-25", "Europe/Berlin") == parse_moment("2026-10-24T22:00:00Z", "UTC")
    True
    >>> parse_moment("2026-10-25 00:00", "UTC")
    Traceback (most recent call last):
    ValueError: '2026-10-25 00:00' has no offset, such as Z or +02:00
    """
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return midnight(date.fromisoformat(text), timezone)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a date such as 2026-10-25 nor a time such as "
                         "2026-10-25T06:00:00+02:00") from None  # fmt: skip
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset, such as Z or +02:00")
    return moment.timestamp()


def midnight(day: date, timezone: str) -> float:
    """UTC seconds of the first moment of a day in a time zone; 01:00 where clocks skip the hour after midnight.

    >>> midnight(date(2026, 10, 26), "Europe/Berlin") - midnight(date(2026, 10, 25), "Europe/Berlin")
    90000.0
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).timestamp()


def calendar_periods(calendar: Calendar, timezone: str, at: float) -> Iterator[Span]:
    """The calendar periods of a time zone that ended by a time in UTC seconds, the newest first, without end.

    A day has 23 or 25 hours where clocks change. A week begins on Monday.

    >>> at = parse_moment("2026-10-27T06:00:00Z", "UTC")
    >>> days = calendar_periods("day", "Europe/Berlin", at)
    >>> [(day.end - day.start) / 3600 for day in (next(days), next(days))]
    [24.0, 25.0]
    >>> next(calendar_periods("month", "UTC", at)) == parse_span("2026-09-01", "2026-10-01", "UTC")
    True
    """
    end = _first_day(calendar, datetime.fromtimestamp(at, ZoneInfo(timezone)).date())
    while True:
        start = _first_day(calendar, end - timedelta(days=1))
        span = Span(midnight(start, timezone), midnight(end, timezone))
        if span.start < span.end:  # a day that a country left out, when it changed the side of the date line
            yield span
        end = start


def _first_day(calendar: Calendar, day: date) -> date:
    """The first day of the period that a day belongs to."""
    if calendar == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if calendar == "week" else day
