"""A report shows the content of a store, to the byte (golden files in `golden/`)."""

from __future__ import annotations

import json
import os
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from driftgauge.agent.outlets.domain_report import DomainReport, Verdict
from driftgauge.agent.outlets.report import Report, latest_period, make_report
from driftgauge.agent.outlets.report_files import ReportWriter, to_json_report, write_report
from driftgauge.agent.outlets.report_html import to_html
from driftgauge.agent.outlets.report_markdown import to_markdown
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.folder import LocalFolder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.report.examples import DAY_S, END, START, estimate, unknown

GOLDEN = Path(__file__).parent / "golden"


def matches_golden(name: str, text: str) -> bool:
    """Whether the text is that of the golden file; with UPDATE_GOLDEN set, the file is written first."""
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    return (GOLDEN / name).read_text() == text


def test_a_full_report_equals_the_golden_file(report: Report) -> None:
    assert matches_golden("full.md", to_markdown(report))
    assert matches_golden("full.json", to_json_report(report))
    assert matches_golden("full.html", to_html(report))


def test_a_report_of_an_empty_period_equals_the_golden_file(queries: StoreQueries) -> None:
    made = make_report(queries, END + 10 * DAY_S, END + 11 * DAY_S)
    made = replace(made, acquisition=None, driftgauge_version="0.0.0")
    assert matches_golden("empty.md", to_markdown(made))
    assert matches_golden("empty.json", to_json_report(made))
    assert matches_golden("empty.html", to_html(made))


@pytest.mark.parametrize(
    ("accuracy", "width", "verdict"),
    [(0.7, 0.1, "below target"), (0.75, 0.2, "unclear"), (0.85, 0.2, "unclear"), (0.9, 0.1, "meets target")],
)
def test_the_verdict_is_unclear_when_the_target_lies_inside_the_interval(
    accuracy: float, width: float, verdict: Verdict
) -> None:
    assert DomainReport(estimate("a", accuracy, width), None, 0.8).verdict == verdict


def test_the_change_is_unknown_when_either_accuracy_is_unknown() -> None:
    known, nothing = estimate("a", 0.75, 0.1), unknown("a", status="no_data")
    assert DomainReport(known, estimate("a", 0.5, 0.1), 0.8).change == 0.25
    for now, before in ((known, None), (known, nothing), (nothing, known)):
        assert DomainReport(now, before, 0.8).change is None


def test_a_report_shows_the_newest_window_of_its_period(url: str) -> None:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        ends = (START, START + 3600, END, END + 3600)
        transaction.emit([estimate("math", 0.1 * i, 0.01, window_end=end) for i, end in enumerate(ends, start=1)])
    with closing(open_queries(url)) as queries:
        (domain,) = make_report(queries, START, END).domains
        assert domain.estimate.accuracy == pytest.approx(0.3)
        assert domain.change == pytest.approx(0.2)
        assert latest_period(queries, DAY_S) == (START + 3600, END + 3600)


def test_titles_distinguish_contexts_and_models(report: Report) -> None:
    (first, *_) = report.domains
    other = replace(first, estimate=replace(first.estimate, fingerprint="ffff", model="small-model"))
    third = replace(first, estimate=replace(first.estimate, fingerprint="eeee", model="large-model"))
    text = to_markdown(replace(report, domains=(first, other, third)))
    for title in (
        "math, small-model (context 0123456789ab)",
        "math, small-model (context ffff)",
        "math, large-model |",
    ):
        assert title in text


def test_long_lists_are_cut_in_markdown_and_complete_in_json(report: Report) -> None:
    many = tuple(replace(report.domains[0], estimate=estimate(f"d{i:03}", 0.5, 0.1)) for i in range(250))
    made = replace(report, domains=many)
    assert "And 50 more, in the JSON file." in to_markdown(made)
    assert "d249" not in to_markdown(made)
    assert len(json.loads(to_json_report(made))["domains"]) == 250


def test_a_thousand_domains_are_all_in_json_and_the_worst_are_in_markdown(report: Report) -> None:
    made = [estimate(f"domain-{i:04}", 0.5 + i / 2_500, 0.02) for i in range(1_000)]
    large = replace(report, domains=tuple(DomainReport(one, None, 0.8, (one,)) for one in made))
    markdown, as_json = to_markdown(large), to_json_report(large)
    table = markdown.partition("## Domains")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| domain-")]
    assert [row.split(" | ")[0] for row in rows] == [f"| domain-{i:04}" for i in range(200)]
    assert "And 800 more, in the JSON file." in table
    assert "Below target: domain-0000 (0.50), " in markdown
    assert "and 717 more." in markdown  # the headline stays short
    assert len(markdown) < 60_000
    assert [one["domain"] for one in json.loads(as_json)["domains"]] == [one.domain for one in made]
    assert len(as_json) < 2_000_000


def test_a_period_with_a_single_unknown_domain_makes_sense_as_text(report: Report) -> None:
    only = unknown("new", status="insufficient_data", status_reason="7 of 30 responses", n_events=7, n_labels=0)
    nothing = replace(
        report, domains=(DomainReport(only, None, 0.8, (only,)),), alerts=(), acquisition=None, label_lists=(),
        slices=(), weak_segments=None, judged={}, reliability=(),
    )  # fmt: skip
    markdown, as_json = to_markdown(nothing), json.loads(to_json_report(nothing))
    for text in (
        "No estimate: new.", "No alerts.", "No list yet.", "No label list in this period.", "| new | 7 | 0 | – |",
        "- new has no estimate: 7 of 30 responses.",
    ):  # fmt: skip
        assert text in markdown
    (domain,) = as_json["domains"]
    assert (domain["verdict"], domain["estimate"]["accuracy"], domain["change"]) == ("no estimate", None, None)
    assert as_json["priorities"] == as_json["label_lists"] == as_json["alerts"] == []


def test_report_files_are_named_after_the_period_and_replaced(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    paths = write_report(report, LocalFolder(folder))
    assert write_report(report, LocalFolder(folder)) == paths
    assert sorted(path.name for path in folder.iterdir()) == [
        "report-20260101T0000Z-20260102T0000Z.html",
        "report-20260101T0000Z-20260102T0000Z.json",
        "report-20260101T0000Z-20260102T0000Z.md",
    ]
    assert Path(paths[0]).read_text() == to_markdown(report)


def test_only_the_configured_formats_are_written(report: Report, tmp_path: Path) -> None:
    (path,) = write_report(report, LocalFolder(tmp_path), ["json"])
    assert path == str(tmp_path / "report-20260101T0000Z-20260102T0000Z.json")


def test_a_folder_that_cannot_be_written_is_a_clear_error(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match=r"folder .*file: "):
        write_report(report, LocalFolder(tmp_path / "file"))


def test_the_latest_report_is_written_from_a_store(queries: StoreQueries, url: str, tmp_path: Path) -> None:  # noqa: ARG001 - makes the store
    markdown, as_json, page = map(Path, ReportWriter(url, str(tmp_path), DAY_S).write().files)
    assert markdown.read_text().startswith("# Accuracy, 2026-01-01 00:00 to 2026-01-02 00:00 UTC")
    assert json.loads(as_json.read_text())["end"] == "2026-01-02T00:00:00Z"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert (
        stat.S_IMODE(markdown.stat().st_mode) & 0o077
        == stat.S_IMODE(tmp_path.joinpath("store.db").stat().st_mode) & 0o077
    )


def test_a_store_without_estimates_is_an_error(url: str, tmp_path: Path) -> None:
    open_store(url, topics=Topics()).close()
    with pytest.raises(ConnectorError, match="no estimate yet"):
        ReportWriter(url, str(tmp_path), DAY_S).write()
