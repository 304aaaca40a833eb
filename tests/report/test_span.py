"""The period that a user asks for: dates in a time zone, times with an offset, and what is no period."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from driftgauge.agent.outlets.report import Report, make_report
from driftgauge.agent.outlets.report_files import to_json_report, write_report
from driftgauge.agent.outlets.report_html import to_html
from driftgauge.agent.outlets.report_markdown import to_markdown
from driftgauge.agent.outlets.report_span import Span, midnight, parse_moment, parse_span
from driftgauge.connectors.files.folder import LocalFolder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.report.examples import DAY_S, END, START
from tests.service.test_cli import driftgauge


@pytest.mark.parametrize(
    ("day", "timezone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-10-25", "UTC", 24),
        ("2026-09-06", "America/Santiago", 23),  # clocks go from 00:00 to 01:00, so the day begins at 01:00
        ("2026-04-05", "Australia/Lord_Howe", 24.5),
    ],
)
def test_a_day_is_as_long_as_the_calendar_of_the_time_zone_says(day: str, timezone: str, hours: float) -> None:
    following = f"{date.fromisoformat(day).replace(day=date.fromisoformat(day).day + 1)}"
    span = parse_span(day, following, timezone)
    assert (span.end - span.start) / 3600 == hours


def test_a_time_keeps_its_own_offset_in_any_time_zone() -> None:
    expected = datetime(2026, 10, 25, 4, 0, tzinfo=UTC).timestamp()
    for timezone in ("UTC", "Asia/Tokyo"):
        assert parse_moment("2026-10-25T06:00:00+02:00", timezone) == expected
        assert parse_moment("2026-10-25t04:00:00Z".upper(), timezone) == expected
    assert midnight(date(2026, 10, 25), "Asia/Tokyo") == parse_moment("2026-10-24T15:00:00Z", "UTC")


@pytest.mark.parametrize(
    ("first", "end", "message"),
    [
        ("2026-10-01", "2026-10-01", "the period is empty"),
        ("2026-10-02", "2026-10-01", "the period ends before it begins: 2026-10-02T00:00:00Z to 2026-10-01T00:00:00Z"),
        ("yesterday", "2026-10-01", "'yesterday' is neither a date such as"),
        ("2026-02-30", "2026-10-01", "'2026-02-30' is neither a date"),
        ("2026-10-01", "2026-10-02T06:00", "has no offset"),
        ("", "2026-10-02", "needs both --from and --to"),
    ],
)
def test_what_is_no_period_is_an_error_of_usage(
    first: str, end: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driftgauge("report", "--from", first, "--to", end) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.usefixtures("queries")
def test_a_period_without_estimates_gives_a_report_that_says_so(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    span = "--from", "2026-05-01", "--to", "2026-06-01"
    folder = "--folder", tmp_path / "reports"
    assert driftgauge("report", "--store", url, *folder, *span, "--fail-on", "below_target>0") == 0
    told = capsys.readouterr()
    assert "the windows in the store ended between 2026-01-01 00:00 and 2026-01-02 00:00 UTC" in told.err
    assert [Path(line).name for line in told.out.split()] == [
        f"report-20260501T0000Z-20260601T0000Z{suffix}" for suffix in (".md", ".json", ".html")
    ]
    assert driftgauge("report", "--store", url, *folder, *span, "--fail-on", "domains==0") == 3


def test_a_store_without_any_estimate_gives_a_report_on_a_given_period_only(url: str, tmp_path: Path) -> None:
    open_store(url, topics=Topics()).close()
    folder = "--folder", tmp_path / "reports"
    assert driftgauge("report", "--store", url, *folder) == 1
    assert driftgauge("report", "--store", url, *folder, "--from", "2026-05-01", "--to", "2026-06-01") == 0
    with closing(open_queries(url)) as queries:
        made = make_report(queries, START, END)
    for text in (to_markdown(made), to_html(made)):
        assert "the store holds no estimate of any time" in text
    assert '"newest_window_end": null' in to_json_report(made)


def test_a_period_of_dates_is_that_of_the_time_zone(queries: StoreQueries, url: str, tmp_path: Path) -> None:  # noqa: ARG001 - makes the store
    span = "--from", "2026-01-01", "--to", "2026-01-02"
    zone = "--set", "report.timezone=Asia/Kolkata"
    assert driftgauge("report", "--store", url, "--folder", tmp_path / "reports", *span, *zone) == 0
    text = (tmp_path / "reports" / "report-20251231T1830Z-20260101T1830Z.md").read_text()
    assert text.startswith("# Accuracy, 2026-01-01 00:00 to 2026-01-02 00:00 Asia/Kolkata\n")
    assert "- 2026-01-01 19:23 **math** (warning, firing)" in text  # 13:53 UTC


def test_a_report_on_a_period_that_event_time_has_not_passed_says_so(queries: StoreQueries) -> None:
    text = to_markdown(make_report(queries, START, END + 1))
    assert "Event time has not reached the end of the period: the newest window ended 2026-01-02 00:00 UTC." in text
    assert "Event time has not" not in to_markdown(make_report(queries, START, END))


def test_two_periods_never_share_a_file(queries: StoreQueries, tmp_path: Path) -> None:
    spans = [Span(START, END), Span(START + 10, END), Span(START + 10.5, END), Span(START, END + DAY_S)]
    names = [Path(write_report(make_report(queries, *span), LocalFolder(tmp_path), ["json"])[0]).name for span in spans]
    assert names == [
        "report-20260101T0000Z-20260102T0000Z.json",
        "report-20260101T000010Z-20260102T0000Z.json",
        "report-20260101T000010.5000Z-20260102T0000Z.json",
        "report-20260101T0000Z-20260103T0000Z.json",
    ]


def test_every_format_shows_the_times_of_the_time_zone(report: Report, queries: StoreQueries) -> None:
    made = make_report(queries, report.start, report.end, timezone="Asia/Kolkata")
    assert "at (Asia/Kolkata)" in to_html(made)
    assert "2026-01-01 05:30 to 2026-01-02 05:30 Asia/Kolkata" in to_html(made)
    assert '"timezone": "Asia/Kolkata"' in to_json_report(made)
    assert '"start": "2026-01-01T00:00:00Z"' in to_json_report(made)
