"""Jobs at times of the clock (reports, retention): a thin layer over APScheduler.

Jobs run one at a time in one separate thread. A job that was missed while the machine slept runs once. A job that fails
is logged and runs again at its next time; it never stops the agent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from driftgauge.config.crontab import Crontab, parse_crontab

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A function with a name and the times at which it runs; ``at_start`` runs once, when the schedule starts."""

    name: str
    work: Callable[[], object]
    trigger: BaseTrigger
    at_start: Callable[[], object] | None = None


def trigger(cron: str = "", interval_s: float = 0.0, timezone: str = "UTC") -> BaseTrigger | None:
    """The times of a job: a crontab line in a time zone, or every ``interval_s`` seconds; None when neither is passed.

    >>> from datetime import datetime
    >>> f"{trigger(cron='0 6 * * 1').get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC)):%A %H:%M}"
    'Monday 06:00'
    >>> trigger() is None
    True
    """
    if cron:
        return _of_crontab(parse_crontab(cron), ZoneInfo(timezone))
    seconds: Any = interval_s  # the library takes fractions, but its signature says int
    return IntervalTrigger(seconds=seconds, timezone=UTC) if interval_s else None


def _of_crontab(line: Crontab, zone: tzinfo) -> BaseTrigger:
    """The times of a crontab line. The library counts weekdays from Monday, and it always needs both kinds of days."""
    times = {"minute": _listed(line.minutes), "hour": _listed(line.hours), "month": _listed(line.months)}
    day = {"day": _listed(line.days)}
    weekday = {"day_of_week": _listed([(number - 1) % 7 for number in line.weekdays])}
    if line.is_either_day:
        return OrTrigger([CronTrigger(**times, **days, timezone=zone) for days in (day, weekday)])
    return CronTrigger(**times, **day, **weekday, timezone=zone)


def _listed(values: Iterable[int]) -> str:
    return ",".join(map(str, values))


class Schedule:
    """Runs jobs until it is closed."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job in jobs:
            if job.at_start is not None:
                self._scheduler.add_job(_guarded, args=[job.name, job.at_start])
            self._scheduler.add_job(_guarded, job.trigger, args=[job.name, job.work], id=job.name)
        self._scheduler.start()

    def close(self) -> None:
        """Wait for the running job and start no other; safe to call twice."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(name: str, work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        log.exception("%s failed; it runs again at its next time", name)
    else:
        log.info("%s done", name)
