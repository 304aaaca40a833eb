"""Jobs run at their time, and a failing one runs again."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest

from driftgauge.agent.service.schedule import Job, Schedule, trigger


def interval(seconds: float) -> Job:
    when = trigger(interval_s=seconds)
    assert when is not None
    return Job("tick", lambda: None, when)


def test_a_job_that_failed_runs_again_at_its_next_time(caplog: pytest.LogCaptureFixture) -> None:
    runs, twice = [], threading.Event()

    def fail() -> None:
        runs.append(threading.current_thread().name)
        if len(runs) == 2:
            twice.set()
        raise OSError("disk full")

    with caplog.at_level(logging.ERROR):
        schedule = Schedule([Job("report", fail, interval(0.05).trigger)])
        assert twice.wait(10)
        schedule.close()
    assert "report failed; it runs again" in caplog.text
    assert "disk full" in caplog.text


def test_what_a_job_does_at_the_start_runs_once_before_its_times() -> None:
    runs, again = [], threading.Event()

    def work() -> None:
        runs.append("work")
        if len(runs) >= 3:
            again.set()

    schedule = Schedule([Job("report", work, interval(0.05).trigger, at_start=lambda: runs.append("start"))])
    assert again.wait(10)
    schedule.close()
    assert runs[0] == "start"
    assert runs.count("start") == 1


def test_closing_the_schedule_waits_for_the_running_job() -> None:
    started, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        may_end.wait(10)
        ended.set()

    schedule = Schedule([Job("report", slow, interval(0.05).trigger)])
    assert started.wait(10)
    threading.Timer(0.05, may_end.set).start()
    schedule.close()
    assert ended.is_set()
    schedule.close()


def test_a_crontab_line_is_read_in_utc() -> None:
    when = trigger(cron="30 6 * * mon")
    assert when is not None
    at = when.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC))
    assert at == datetime(2026, 1, 5, 6, 30, tzinfo=UTC)


def test_a_crontab_line_is_read_in_its_time_zone_on_days_of_23_and_25_hours() -> None:
    when = trigger(cron="0 6 * * *", timezone="Europe/Berlin")
    assert when is not None
    for day, hour in ((28, 5), (29, 4)):  # clocks go forward on the 29th of March 2026
        at = when.get_next_fire_time(None, datetime(2026, 3, day, tzinfo=UTC))
        assert at == datetime(2026, 3, day, hour, tzinfo=UTC)
    for day, hour in ((24, 4), (25, 5)):  # and back on the 25th of October
        at = when.get_next_fire_time(None, datetime(2026, 10, day, tzinfo=UTC))
        assert at == datetime(2026, 10, day, hour, tzinfo=UTC)


def test_without_crontab_line_and_interval_there_is_no_trigger() -> None:
    assert trigger() is None
