"""Jobs at times of the clock (reports, retention): a thin layer over APScheduler.

Jobs run one at a time in one separate thread. A job that was missed while the machine slept runs once. A job that fails
is logged and runs again at its next time; it never stops the agent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A function with a name and the times at which it runs."""

    name: str
    work: Callable[[], object]
    trigger: BaseTrigger


def trigger(cron: str = "", interval_s: float = 0.0) -> BaseTrigger | None:
    """The times of a job: a crontab line in UTC, or every ``interval_s`` seconds; None when neither is passed.

    >>> trigger(cron="0 6 * * *").get_next_fire_time(None, __import__("datetime").datetime(2026, 1, 1, tzinfo=UTC)).hour
    6
    >>> trigger() is None
    True
    """
    if cron:
        return CronTrigger.from_crontab(cron, timezone=UTC)
    seconds: Any = interval_s  # the library takes fractions, but its signature says int
    return IntervalTrigger(seconds=seconds, timezone=UTC) if interval_s else None


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
            self._scheduler.add_job(_guarded, job.trigger, args=[job], id=job.name)
        self._scheduler.start()

    def close(self) -> None:
        """Wait for the running job and start no other; safe to call twice."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(job: Job) -> None:
    try:
        job.work()
    except Exception:
        log.exception("%s failed; it runs again at its next time", job.name)
    else:
        log.info("%s done", job.name)
