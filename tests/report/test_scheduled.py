"""A calendar period gets one report: after a time without the agent, after a kill, and with several agents."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.outlets.report_files import ReportWriter
from driftgauge.agent.outlets.report_span import Calendar, calendar_periods
from driftgauge.agent.service.reporting import CalendarReports, report_job
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import FencedError, Store
from driftgauge.connectors.files.folder import LocalFolder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.outputs import ReportWritten
from tests.report.examples import DAY_S, HOUR_S, estimate


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def store_with_estimates(url: str, *window_ends: float) -> None:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        transaction.emit([estimate("math", 0.7, 0.1, window_end=end) for end in window_ends])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def reports(
    url: str, folder: Path, calendar: Calendar = "day", store: Store | None = None, **more: Any
) -> CalendarReports:
    given = {"formats": ("markdown", "json"), "timezone": "Europe/Berlin", **more}
    return CalendarReports(ReportWriter(url, str(folder), DAY_S, **given), calendar, store or MemoryStore())


def days(folder: Path) -> list[str]:
    """The periods that have every file."""
    names = sorted(file.name for file in folder.iterdir()) if folder.exists() else []
    assert not [name for name in names if name.startswith(".")]
    stems = [name.removesuffix(".md") for name in names if name.endswith(".md")]
    assert names == [f"{stem}{end}" for stem in stems for end in (".json", ".md")]
    return [stem.removeprefix("report-") for stem in stems]


def test_a_daily_report_covers_the_calendar_day_also_where_clocks_change(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    made = reports(url, folder)
    for run in ("2026-03-29T06:00:00+02:00", "2026-03-30T06:00:00+02:00", "2026-10-26T06:00:00+01:00"):
        made.write_due(at(run))
        made.write_due(at(run) + 60)
    assert days(folder) == [
        "20260327T2300Z-20260328T2300Z",  # 24 hours
        "20260328T2300Z-20260329T2200Z",  # 23 hours
        "20261024T2200Z-20261025T2300Z",  # 25 hours; more than MAX_MISSED days later, so only the newest
    ]


def test_periods_that_ended_while_the_agent_was_down_get_one_report_each(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    reports(url, folder).write_due(at("2026-05-04T06:00:00+02:00"))
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    for _ in range(2):
        reports(url, folder).write_due(at("2026-05-07T09:00:00+02:00"))
    assert [day[:8] for day in days(folder)] == ["20260502", "20260503", "20260504", "20260505"]
    assert before.items() <= {file: file.stat().st_mtime_ns for file in folder.iterdir()}.items()


def test_weeks_begin_on_monday_and_months_on_their_first(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    now = at("2026-11-12T06:00:00Z")  # a Thursday
    reports(url, folder / "week", "week", timezone="UTC").write_due(now)
    reports(url, folder / "month", "month", timezone="UTC").write_due(now)
    assert days(folder / "week") == ["20261102T0000Z-20261109T0000Z"]
    assert days(folder / "month") == ["20261001T0000Z-20261101T0000Z"]


def test_a_report_of_which_a_file_is_missing_is_completed(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    made = reports(url, folder)
    made.write_due(at("2026-05-04T06:00:00Z"))
    (missing,) = folder.glob("*.json")
    missing.unlink()
    (kept,) = folder.glob("*.md")
    kept.write_text("as it was")
    made.write_due(at("2026-05-04T06:00:00Z"))
    assert len(days(folder)) == 1
    assert kept.read_text() == "as it was"


def test_there_are_no_reports_on_the_time_before_the_first_estimate(url: str, folder: Path) -> None:
    store_with_estimates(url)
    reports(url, folder).write_due(at("2026-05-04T06:00:00Z"))
    assert days(folder) == []
    store_with_estimates(url, at("2026-05-04T09:00:00Z"))
    reports(url, folder).write_due(at("2026-05-04T10:00:00Z"))
    assert days(folder) == []
    reports(url, folder).write_due(at("2026-05-05T10:00:00Z"))
    assert [day[:8] for day in days(folder)] == ["20260503"]


def test_several_agents_on_one_folder_write_one_report(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    store = MemoryStore()
    agents = [reports(url, folder, store=store) for _ in range(4)]
    together = threading.Barrier(len(agents))

    def run(agent: CalendarReports) -> None:
        together.wait()
        agent.write_due(at("2026-05-04T06:00:00Z"))

    with ThreadPoolExecutor(len(agents)) as pool:
        list(pool.map(run, agents))
    assert len(days(folder)) == 1
    assert {message.key for message in store.outbox(10)} == {b"1777759200/1777845600"}


def test_each_written_report_is_announced_once_by_the_outbox_of_the_agent(url: str, folder: Path) -> None:
    with closing(open_store(url, topics=Topics())) as store:
        with store.transaction() as transaction:
            transaction.emit([estimate("math", 0.7, 0.1, window_end=at("2026-05-03T12:00:00Z"))])
        store.acknowledge(store.outbox(10)[-1].seq)
        made = reports(url, folder, store=store)
        for run in ("2026-05-04T06:00:00Z", "2026-05-04T06:00:00Z", "2026-05-06T06:00:00Z"):
            made.write_due(at(run))
            reports(url, folder, store=store).write_due(at(run))  # an agent that was started again
        messages = store.outbox(10)
        newest, _, oldest = store.newest(ReportWritten, 10)
    assert [message.key for message in messages] == [
        b"1777759200/1777845600", b"1777845600/1777932000", b"1777932000/1778018400"
    ]  # fmt: skip
    assert {message.topic for message in messages} == {"driftgauge.reports"}
    assert oldest == ReportWritten(
        period_start=1_777_759_200.0, period_end=1_777_845_600.0, timezone="Europe/Berlin",
        files=tuple(str(folder / f"report-20260502T2200Z-20260503T2200Z.{end}") for end in ("md", "json")),
        n_domains=1, n_below_target=1, n_unclear=0, n_no_estimate=0, n_meets_target=0,
    )  # fmt: skip
    assert newest.n_domains == 0


def test_a_report_that_was_written_before_a_kill_is_announced_by_the_next_run(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    killed = MemoryStore()
    store = MemoryStore(killed.tables)  # takes over, so the first agent can write files only
    with pytest.raises(FencedError):
        reports(url, folder, store=killed).write_due(at("2026-05-04T06:00:00Z"))
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert store.outbox(10) == []
    made = reports(url, folder, store=store)
    for _ in range(2):
        made.write_due(at("2026-05-04T07:00:00Z"))
    assert [message.key for message in store.outbox(10)] == [b"1777759200/1777845600"]
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_report_is_announced_once_where_the_store_forgets_soon(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    store = MemoryStore()
    made = reports(url, folder, store=store)
    made.write_due(at("2026-05-04T06:00:00Z"))
    store.expire(at("2026-05-10T00:00:00Z"), 100)
    assert store.newest(ReportWritten, 1) == []
    made.write_due(at("2026-05-04T07:00:00Z"))
    assert len(store.outbox(10)) == 1


def test_a_report_without_a_calendar_is_announced_as_well(url: str, folder: Path) -> None:
    store_with_estimates(url, at("2026-05-03T12:00:00Z"))
    settings = {"report.interval_s": 3_600, "report.folder": str(folder), "store.url": url}
    store = MemoryStore()
    job = report_job(load_settings(overrides=settings), store)
    assert job is not None
    assert job.at_start is None
    job.work()
    (announced,) = store.newest(ReportWritten, 10)
    assert announced.key == f"{at('2026-05-02T12:00:00Z'):.0f}/{at('2026-05-03T12:00:00Z'):.0f}"
    assert [Path(file).suffix for file in announced.files] == [".md", ".json", ".html"]
    assert all(Path(file).exists() for file in announced.files)


def test_of_many_writers_of_one_file_exactly_one_creates_it(folder: Path) -> None:
    together = threading.Barrier(8)

    def create(number: int) -> bool:
        together.wait()
        return LocalFolder(folder).create("report.md", b"%d" % number * 100_000)

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))
    assert created.count(True) == 1
    assert (folder / "report.md").read_bytes() == b"%d" % created.index(True) * 100_000
    assert len(list(folder.iterdir())) == 1


def test_at_its_start_the_agent_writes_what_was_due_at_the_last_time_of_the_crontab_line(
    url: str, folder: Path
) -> None:
    year = datetime.now(UTC).year
    store_with_estimates(url, datetime(year, 1, 1, tzinfo=UTC).timestamp() - 5 * DAY_S)
    settings = {"report.cron": "0 0 1 1 *", "report.period": "day", "report.folder": str(folder), "store.url": url}
    job = report_job(load_settings(overrides={**settings, "report.formats": "markdown,json"}), MemoryStore())
    assert job is not None
    assert job.at_start is not None
    job.at_start()
    assert days(folder) == [f"{year - 1}1231T0000Z-{year}0101T0000Z"]
    job.work()
    assert days(folder)[-1][:8] == f"{datetime.fromtimestamp(datetime.now(UTC).timestamp() - DAY_S, UTC):%Y%m%d}"


@given(
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.floats(at("1990-01-01T00:00:00Z"), at("2037-12-31T00:00:00Z")),
)
def test_calendar_periods_follow_each_other_without_gap_or_overlap(calendar: Calendar, zone: str, now: float) -> None:
    periods = calendar_periods(calendar, zone, now)
    newest = next(periods)
    assert newest.end <= now + 3 * HOUR_S  # an hour that comes twice may hold midnight
    assert now - newest.end < 32 * DAY_S
    for _ in range(5):
        before = next(periods)
        assert before.end == newest.start
        assert before.start < before.end
        assert datetime.fromtimestamp(before.start, ZoneInfo(zone)).hour in (0, 1)
        newest = before


def test_a_day_that_a_country_left_out_is_no_period() -> None:
    periods = calendar_periods("day", "Pacific/Apia", at("2011-12-31T12:00:00Z"))
    begins = [datetime.fromtimestamp(next(periods).start, ZoneInfo("Pacific/Apia")) for _ in range(2)]
    assert [begin.day for begin in begins] == [31, 29]  # the 30th of December 2011 did not exist in Samoa
