"""Reports in a folder of this machine, at a file URL, and in what fsspec knows."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from driftgauge.agent.commands.check_config import check_report
from driftgauge.agent.outlets.report_files import ReportWriter
from driftgauge.agent.service.reporting import CalendarReports, report_job
from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.folder import open_folder
from driftgauge.connectors.testing import MemoryStore
from tests.report.examples import DAY_S
from tests.report.test_scheduled import at, store_with_estimates
from tests.service.test_cli import driftgauge


@pytest.fixture(params=["path", "file", "memory", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet; ``local`` is a folder of this machine through fsspec."""
    places = {"path": "{}/new", "file": "file://{}/new", "memory": f"memory://{uuid4()}", "local": "local://{}/new"}
    return str(places[request.param]).format(tmp_path)


def test_a_file_is_created_once_and_replaced_at_will(place: str) -> None:
    folder = open_folder(place)
    assert folder.names() == set()
    assert folder.create("a.md", b"first")
    assert not folder.create("a.md", b"second")
    assert folder.names() == {"a.md"}
    assert content(place, "a.md") == b"first"
    assert folder.replace("a.md", b"third") == folder.place("a.md")
    assert folder.replace("b.md", b"other") == folder.place("b.md")
    assert content(place, "a.md") == b"third"
    assert folder.names() == {"a.md", "b.md"}


def content(place: str, name: str) -> bytes:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(f"{place}/{name}")
    return bytes(system.cat_file(path))


def test_a_calendar_period_gets_one_report_in_any_folder(place: str, url: str) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    agents = [CalendarReports(ReportWriter(url, place, DAY_S), "day", MemoryStore()) for _ in range(2)]
    for agent in agents:
        agent.write_due(at("2026-05-04T06:00:00Z"))
    before = {name: content(place, name) for name in open_folder(place).names()}
    assert sorted(before) == [f"report-20260503T0000Z-20260504T0000Z.{end}" for end in ("html", "json", "md")]
    agents[0].write_due(at("2026-05-06T06:00:00Z"))
    assert len(open_folder(place).names()) == 9


def test_the_command_prints_the_urls_of_the_files(place: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    assert driftgauge("report", "--store", url, "--folder", place) == 0
    written = capsys.readouterr().out.split()
    assert written == [open_folder(place).place(Path(file).name) for file in written]
    assert len(written) == len(open_folder(place).names()) == 3


def test_the_check_reads_the_folder_at_a_url() -> None:
    place = f"memory://{uuid4()}"
    open_folder(place).create("a.md", b"")
    settings = load_settings(overrides={"report.cron": "0 6 * * *", "report.folder": place})
    assert check_report(settings) == f"{place} can be read (1 files)"


@pytest.mark.parametrize("period", ["", "day"])
@pytest.mark.parametrize(
    ("folder", "message"), [("nosuch://bucket", "Protocol not known"), ("webdav://host/x", "driftgauge\\[fsspec\\]")]
)
def test_a_missing_package_is_reported_at_the_start(folder: str, message: str, period: str) -> None:
    settings = load_settings(overrides={"report.cron": "0 6 * * *", "report.folder": folder, "report.period": period})
    with pytest.raises(ConnectorError, match=message):
        report_job(settings, MemoryStore())


def test_a_folder_of_this_machine_needs_no_fsspec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert open_folder(f"file://{tmp_path}/a%20b").create("a.md", b"text")
    assert (tmp_path / "a b" / "a.md").read_bytes() == b"text"
    with pytest.raises(ConnectorError, match="driftgauge\\[fsspec\\]"):
        open_folder("memory://reports")


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides={"report.folder": "sftp://me:hunter2@host/reports"})
    assert "must hold no password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
