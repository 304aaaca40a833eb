"""The reports that the agent writes at times of the clock.

A calendar period gets one report, however often the agent starts and however many agents write into the folder. The
files in the folder say which periods have one, so nothing else is stored about it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import islice
from zoneinfo import ZoneInfo

from driftgauge.agent.outlets.report_files import ReportWriter, contents, file_names
from driftgauge.agent.outlets.report_span import Calendar, Span, calendar_periods
from driftgauge.agent.service import build
from driftgauge.agent.service.schedule import Job, trigger
from driftgauge.config.crontab import latest_time, parse_crontab
from driftgauge.config.settings import Settings
from driftgauge.connectors.files.folder import open_folder

log = logging.getLogger(__name__)

MAX_MISSED = 100
"""Periods without a report that are made up for; after more than these only the newest is."""


def report_job(settings: Settings) -> Job | None:
    """The job that writes reports, where the settings ask for it."""
    report = settings.report
    times = trigger(report.cron, report.interval_s, report.timezone)
    if times is None:
        return None
    writer = build.report_writer(settings)
    if not report.period:
        open_folder(writer.folder)  # what is missing for it is reported at the start
        return Job("report", writer.write, times)
    reports = CalendarReports(writer, report.period)

    def catch_up() -> None:
        """Write what the agent missed at the times before its start."""
        now = time.time()
        line = report.cron and parse_crontab(report.cron)
        reports.write_due(latest_time(line, now, ZoneInfo(report.timezone)) if line else now)

    return Job("report", lambda: reports.write_due(time.time()), times, catch_up)


class CalendarReports:
    """One report for each calendar period of the time zone of the writer."""

    def __init__(self, writer: ReportWriter, calendar: Calendar) -> None:
        self._writer = writer
        self._calendar = calendar
        self._folder = open_folder(writer.folder)

    def write_due(self, at: float) -> None:
        """Write the reports of the periods that ended by a time (UTC seconds) and have none.

        Nothing is written about periods before the first estimate.

        Raises
        ------
        ConnectorError
            When the store cannot be read, or the folder cannot be written.
        """
        periods = calendar_periods(self._calendar, self._writer.timezone, at)
        found = self._folder.names()
        for span in due(islice(periods, MAX_MISSED), found, self._files):
            if missing := [name for name in self._files(span) if name not in found]:
                self._write(span, missing)

    def _files(self, span: Span) -> list[str]:
        return file_names(span, self._writer.formats)

    def _write(self, span: Span, missing: Sequence[str]) -> None:
        report = self._writer.make(span)
        if report.window_ends is None or report.window_ends[0] > span.end:
            return
        texts = contents(report, self._writer.formats)
        if all(self._folder.create(name, texts[name].encode()) for name in missing):
            log.info("report: %s", self._folder.place(missing[-1]))
        else:
            log.info("report: another agent has written %s", self._folder.place(missing[0]))


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
