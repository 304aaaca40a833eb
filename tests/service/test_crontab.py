"""A crontab line means what it means to cron, by a calendar that is computed here minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftgauge.agent.service.schedule import trigger
from driftgauge.config.crontab import latest_time, parse_crontab

START = datetime(2026, 1, 31, 23, 58, tzinfo=UTC)  # a Saturday
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]  # in the order of `datetime.isoweekday`, from 1


class Field(NamedTuple):
    """The text of a field of a crontab line, and the values that it names."""

    text: str
    values: frozenset[int]

    @property
    def is_star(self) -> bool:
        return self.text.startswith("*")


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: dict[str, int] | None = None) -> Field:
    """A field with one to three items: a star, a number, a name, a range, with or without a step."""
    texts, values = [], set[int]()
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(low, high))
        end = draw(st.integers(begin, high))
        step = draw(st.integers(1, high))
        every = range(low, high + 1)
        kinds = [
            ("*", every), (f"*/{step}", every[::step]), (str(begin), [begin]),
            (f"{begin}-{end}", range(begin, end + 1)), (f"{begin}-{end}/{step}", range(begin, end + 1, step)),
        ]  # fmt: skip
        if names:
            name, value = draw(st.sampled_from(sorted(names.items())))
            kinds.append((draw(st.sampled_from([name, name.upper(), name.title()])), [value]))
        text, named = draw(st.sampled_from(kinds))
        texts.append(text)
        values.update(named)
    return Field(",".join(texts), frozenset(values))


LINES = st.tuples(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    fields(1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    fields(0, 7, {name: number % 7 for number, name in enumerate(WEEKDAYS, 1)}),
)


def is_time(at: datetime, line: tuple[Field, Field, Field, Field, Field]) -> bool:
    minute, hour, day, month, weekday = line
    in_month = at.day in day.values
    in_week = bool({at.isoweekday(), at.isoweekday() % 7} & weekday.values)
    is_day = in_month and in_week if day.is_star or weekday.is_star else in_month or in_week
    return at.minute in minute.values and at.hour in hour.values and at.month in month.values and is_day


def fires_next(line: tuple[Field, Field, Field, Field, Field]) -> datetime:
    """The first minute from `START` on that the line names, day by day where no minute of the day can be meant."""
    at = START
    while not is_time(at, line):
        day = at.replace(hour=min(line[1].values), minute=min(line[0].values))
        at = at + timedelta(minutes=1) if is_time(day, line) else (at + timedelta(days=1)).replace(hour=0, minute=0)
    return at


@given(LINES)
def test_a_line_fires_at_the_next_minute_that_it_names(line: tuple[Field, Field, Field, Field, Field]) -> None:
    assume(min(line[2].values) <= 28)  # days that some month lacks: see the lines that are refused
    when = trigger(cron=" ".join(field.text for field in line))
    assert when is not None
    first = fires_next(line)
    assert when.get_next_fire_time(None, START) == first
    again = when.get_next_fire_time(first, first + timedelta(seconds=1))
    assert again is not None
    assert again > first


@given(LINES, st.integers(0, 60 * 24 * 400))
def test_the_newest_time_is_the_one_after_which_none_comes_before_now(
    line: tuple[Field, Field, Field, Field, Field], minutes: int
) -> None:
    assume(min(line[2].values) <= 28)
    text = " ".join(field.text for field in line)
    when, now = trigger(cron=text), START + timedelta(minutes=minutes, seconds=59)
    assert when is not None
    newest = datetime.fromtimestamp(latest_time(parse_crontab(text), now.timestamp()), UTC)
    assert newest <= now
    assert is_time(newest, line)
    following = when.get_next_fire_time(newest, newest + timedelta(seconds=1))
    assert following is not None
    assert following > now


@pytest.mark.parametrize(
    ("line", "newest"),
    [
        ("0 0 29 2 *", "2024-02-29 00:00"),
        ("30 12 * * *", "2027-12-30 12:30"),
        ("30 11 * * *", "2027-12-31 11:30"),
        ("45-50 11 31 12 *", "2027-12-31 11:50"),
    ],
)
def test_the_newest_time_may_be_years_ago(line: str, newest: str) -> None:
    now = datetime(2027, 12, 31, 12, 0, tzinfo=UTC).timestamp()
    assert f"{datetime.fromtimestamp(latest_time(parse_crontab(line), now), UTC):%Y-%m-%d %H:%M}" == newest


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2026-03-29 05:00", "2026-03-29 04:00"),  # six in the morning, on the day of 23 hours
        ("2026-03-29 03:59", "2026-03-28 05:00"),
        ("2026-10-25 04:59", "2026-10-24 04:00"),  # and on the day of 25 hours
        ("2026-10-25 05:00", "2026-10-25 05:00"),
    ],
)
def test_the_newest_time_is_that_of_the_time_zone(now: str, newest: str) -> None:
    moment = datetime.fromisoformat(f"{now}+00:00").timestamp()
    found = latest_time(parse_crontab("0 6 * * *"), moment, ZoneInfo("Europe/Berlin"))
    assert f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M}" == newest


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("0 6 * * 1", ["Mon"]),
        ("0 6 * * 0", ["Sun"]),
        ("0 6 * * 7", ["Sun"]),
        ("0 6 * * 1-5", ["Mon", "Tue", "Wed", "Thu", "Fri"]),
        ("0 6 * * 5-7", ["Fri", "Sat", "Sun"]),
        ("0 6 * * sat-sun", ["Sat", "Sun"]),
        ("0 6 * * */2", ["Tue", "Thu", "Sat", "Sun"]),
        ("0 6 * * mon,3", ["Mon", "Wed"]),
        ("@weekly", ["Sun"]),
    ],
)
def test_weekdays_are_those_of_crontab(line: str, days: list[str]) -> None:
    when, at, found = trigger(cron=line), datetime(2026, 2, 2, tzinfo=UTC), []
    assert when is not None
    for _ in range(len(days)):
        fire = when.get_next_fire_time(None, at)
        assert fire is not None
        found.append(f"{fire:%a}")
        at = fire + timedelta(seconds=1)
    assert found == days


@pytest.mark.parametrize(
    "line",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8",
        "*/0 * * * *", "*/60 * * * *", "5-1 * * * *", "* * * * fri-tue", "* * * foo *", "* * last * *", "-1 * * * *",
        "1, * * * *", "* * 30 2 *", "* * 31 4,6 *", "@never", "1.5 * * * *", "*5 * * * *",
    ],
)  # fmt: skip
def test_a_line_that_cron_would_refuse_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"fields|the |no month"):
        parse_crontab(line)
