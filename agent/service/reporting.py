"""The reports that the agent writes at times of the clock, and their announcement.

A calendar period gets one report, however often the agent starts and however many agents write into the folder. The
files in the folder say which periods have one. A report is announced when it is complete, in a transaction of its own:
it leaves by the outbox of the loop. After a kill between the two the next run announces it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import islice
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger

from driftgauge.agent.outlets.report import Report
from driftgauge.agent.outlets.report_files import ReportWriter, contents, file_names
from driftgauge.agent.outlets.report_span import Calendar, Span, calendar_periods
from driftgauge.agent.service import build
from driftgauge.agent.service.schedule import Job, trigger
from driftgauge.config.crontab import latest_time, parse_crontab
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Store
from driftgauge.connectors.files.folder import open_folder
from driftgauge.models.outputs import ReportWritten

log = logging.getLogger(__name__)

MAX_MISSED = 100
"""Periods without a report that are made up for; after more than these only the newest is."""


def report_job(settings: Settings, store: Store) -> Job | None:
    """The job that writes reports, where the settings ask for it.

    Raises
    ------
    ConnectorError
        When a package that the folder needs is missing.
    """
    report = settings.report
    times = trigger(report.cron, report.interval_s, report.timezone)
    if times is None:
        return None
    writer = build.report_writer(settings)
    if report.period:
        return _calendar_job(CalendarReports(writer, report.period, store), settings, times)
    open_folder(writer.folder)  # what is missing for it is reported at the start

    def write() -> None:
        written = writer.write()
        announce(store, written.report, written.files)

    return Job("report", write, times)


def _calendar_job(reports: CalendarReports, settings: Settings, times: BaseTrigger) -> Job:
    line = settings.report.cron and parse_crontab(settings.report.cron)

    def catch_up() -> None:
        """Write what was due at the last time before the start."""
        now = time.time()
        reports.write_due(latest_time(line, now, ZoneInfo(settings.report.timezone)) if line else now)

    return Job("report", lambda: reports.write_due(time.time()), times, catch_up)


class CalendarReports:
    """One report for each calendar period of the time zone of the writer."""

    def __init__(self, writer: ReportWriter, calendar: Calendar, store: Store) -> None:
        self._writer = writer
        self._calendar: Calendar = calendar
        self._store = store
        self._folder = open_folder(writer.folder)
        self._announced: Span | None = None

    def write_due(self, at: float) -> None:
        """Write and announce the reports of the periods that ended by a time (UTC seconds) and have none.

        Nothing is written about periods before the first estimate.

        Raises
        ------
        ConnectorError
            When the store cannot be read or written, or the folder cannot be written.
        """
        periods = calendar_periods(self._calendar, self._writer.timezone, at)
        found = self._folder.names()
        for span in due(islice(periods, MAX_MISSED), found, self._files):
            missing = [name for name in self._files(span) if name not in found]
            if missing or not self._is_announced(span):
                self._write(span, missing)

    def _files(self, span: Span) -> list[str]:
        return file_names(span, self._writer.formats)

    def _is_announced(self, span: Span) -> bool:
        """Whether this process or the store knows of the announcement; the store forgets it after its retention."""
        known = self._store.newest(ReportWritten, MAX_MISSED)
        return span == self._announced or span in [(made.period_start, made.period_end) for made in known]

    def _write(self, span: Span, missing: Sequence[str]) -> None:
        report = self._writer.make(span)
        if report.window_ends is None or report.window_ends[0] > span.end:
            return
        texts = contents(report, self._writer.formats)
        if all(self._folder.create(name, texts[name].encode()) for name in missing):
            announce(self._store, report, [self._folder.place(name) for name in texts])
            self._announced = span
        else:
            log.info("another agent writes %s", self._folder.place(missing[0]))


def announce(store: Store, report: Report, files: Sequence[str]) -> None:
    """Emit the event that a report was written; the same period has the same key."""
    n = Counter(domain.verdict for domain in report.domains)
    written = ReportWritten(
        period_start=report.start,
        period_end=report.end,
        timezone=report.timezone,
        files=tuple(files),
        n_domains=n.total(),
        n_below_target=n["below target"],
        n_unclear=n["unclear"],
        n_no_estimate=n["no estimate"],
        n_meets_target=n["meets target"],
    )
    with store.transaction() as transaction:
        transaction.emit([written])


def due(periods: Iterable[Span], found: Set[str], files: Callable[[Span], Sequence[str]]) -> list[Span]:
    """The periods to look at, the oldest first: since the newest of which the folder has a file, and that one.

    It may lack a file, where the agent was killed between two of them. Without a file of any period only the newest is
    looked at: a new folder does not get the reports of the past.

    Parameters
    ----------
    periods : the newest first
    found : names of the files in the folder
    files : the names of the files of a period
    """
    looked_at = []
    for span in periods:
        looked_at.append(span)
        if not found.isdisjoint(files(span)):
            return looked_at[::-1]
    return looked_at[:1]
