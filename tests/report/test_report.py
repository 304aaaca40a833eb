"""A report shows the content of a store, to the byte (golden files in `golden/`)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from driftgauge.agent.core.context_state import ContextState, context_parts
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.outlets.report import DomainReport, Report, Verdict, latest_period, make_report
from driftgauge.agent.outlets.report_files import to_json_report, write_latest_report, write_report
from driftgauge.agent.outlets.report_markdown import to_markdown
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.events import Label
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Priority
from driftgauge.models.rows import ResponseRow
from tests.store.examples import label_list, slice_estimates, weak_segments

GOLDEN = Path(__file__).parent / "golden"
DAY_S = 86_400.0
START = 1_767_225_600.0  # 2026-01-01
END = START + DAY_S


def estimate(domain: str, accuracy: float, width: float, **changed: object) -> Estimate:
    made = Estimate(
        domain=domain, fingerprint="0123456789ab", model="small-model", window_start=START, window_end=END,
        watermark=END - 30, revision=2, status="ok", status_reason=None, accuracy=accuracy,
        ci_low=round(accuracy - width / 2, 6), ci_high=round(accuracy + width / 2, 6), confidence_level=0.9,
        estimator="corrected_mean", n_events=400, n_labels=25, effective_sample_size=25.0,
        accuracy_labelled=round(accuracy - 0.01, 6), classifier_version=7,
        components={"mean_probability": accuracy}, spread=None, interval_parts={"sampling": 0.01},
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]  # field names by construction


def unknown(domain: str, **changed: object) -> Estimate:
    made = estimate(domain, 0.0, 0.0, **changed)
    return replace(made, accuracy=None, ci_low=None, ci_high=None, accuracy_labelled=None, components={})


BEFORE = {"window_start": START - DAY_S, "window_end": START, "watermark": START}
HOSTILE = "pipes|and <b>tags</b>\n# and lines"


def alert(number: int, domain: str, kind: str, severity: str, at: float, message: str, **changed: object) -> Alert:
    made = Alert(
        kind=kind, severity="warning", domain=domain, fingerprint="0123456789ab", event_time=at, since=None,
        what="p_correct", before=None, after=None, message=message, number=number,
    )  # fmt: skip
    return replace(made, severity=severity, **changed)  # type: ignore[arg-type]  # field names by construction


OUTPUTS: list[Output] = [
    estimate("math", 0.83, 0.06, **BEFORE),
    estimate("history", 0.9, 0.04, **BEFORE),
    estimate("geography", 0.7, 0.04, **BEFORE),
    estimate("math", 0.61, 0.08),
    estimate("history", 0.91, 0.04, n_labels=0, accuracy_labelled=None, effective_sample_size=0.0),
    estimate("law", 0.79, 0.2, n_labels=3, accuracy_labelled=0.667),
    estimate(HOSTILE, 0.9, 0.02),
    unknown("new", status="insufficient_data", status_reason="7 of 30 responses", n_events=7, n_labels=0),
    alert(1, "math", "drift", "warning", START + 50_000, "p_correct of math moved from 0.820 to 0.610",
          since=START + 48_000, before=0.82, after=0.61),
    alert(2, "new", "new_context", "info", START + 60_000, "model small-model in a context not seen before: it starts"
          " its own state"),
    alert(3, "math", "below_target", "alarm", START + 70_000, "labels show accuracy below the target of 0.80"),
    alert(4, "math", "drift", "warning", END, "after the period"),
    Acquisition(END, (
        Priority(rank=1, domain="math", fingerprint="0123456789ab", value=0.0475, traffic_share=0.25, target=0.8,
                 accuracy=0.61, ci_low=0.57, ci_high=0.65, trend=-0.22, p_top3=0.97, n_events=400, n_labels=25,
                 worst=("r-7", HOSTILE), why="4.8 points to gain: 25.0% of traffic"),
        Priority(rank=2, domain=HOSTILE, fingerprint="0123456789ab", value=-0.025, traffic_share=0.25, target=0.8,
                 accuracy=0.9, ci_low=0.89, ci_high=0.91, p_top3=0.4, n_events=400, n_labels=25, is_new=True,
                 why="nothing to gain: 25.0% of traffic, new in this period"),
        Priority(rank=3, domain="new", fingerprint="0123456789ab", traffic_share=0.1, target=0.8, n_events=7,
                 n_labels=0, why="10.0% of traffic, no estimate yet: 7 of 30 responses"),
    )),
    label_list(
        END, domain=HOSTILE, period_start=START, rank=2, n_asked=0, n_answered=0, p_answered=None,
        reason="no estimate yet",
    ),
    label_list(
        END, domain="math", period_start=START, reason="interval 0.10 wide with 25 labels; 1 of 10 earlier requests "
        "brought no label, newer responses replace them",
    ),
    slice_estimates(END, domain="math", fingerprint="0123456789ab"),
    slice_estimates(END - 1.0, domain="math", fingerprint="0123456789ab"),
    weak_segments(END, "math", "0123456789ab"),
    weak_segments(START, "history", "0123456789ab"),
]  # fmt: skip


LAW = range(100, 180)
LABELS = [
    *(Label(f"drawn-{i}", f"r-{i}", START, 1.0, inclusion_probability=0.5, source="review") for i in range(2)),
    *(Label(f"thumbs-{i}", f"r-{i}", START, float(i > 0), source="thumbs") for i in range(3)),
    Label("complaint", "r-4", START, 0.0, source="complaint"),
    *(Label(f"judge-{i}", f"r-{i}", START, float(i != 1), "model", "j", 0.5, source="judge") for i in range(4)),
    *(Label(f"judge-{i}", f"r-{i}", START, float(i % 4 != 3), "model", "j", 0.5, source="judge") for i in LAW),
    *(Label(f"drawn-{i}", f"r-{i}", START, float(i % 8 > 2), inclusion_probability=0.5) for i in LAW[:24]),
]


def response(i: int, domain: str = "math") -> ResponseRow:
    is_drawn = i < 2 or i in LAW[:24]
    return ResponseRow(
        seq=i, id=f"r-{i}", domain=domain, fingerprint="0123456789ab", event_time=START + i,
        features=np.zeros(17, np.float32), p_correct=0.5, classifier_version=1, n_tokens=9,
        correct=float(i < 2 or i % 8 > 2) if is_drawn else float("nan"), weight=2.0 if is_drawn else 1.0,
        label_kind="designed" if is_drawn else "",
    )  # fmt: skip


def scored_context() -> ContextState:
    """A context whose published predictions were always .75, and right nine times in ten."""
    context, n = ContextState(PipelineSettings(), "small-model"), 40
    correct = np.where(np.arange(n) % 10, 1.0, 0.0)
    domains = ["math", "history"] * (n // 2)
    context.committee.score_and_learn(np.zeros((n, 17), np.float32), correct, np.ones(n), domains, np.full(n, 0.75))
    return context


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def queries(url: str) -> Iterator[StoreQueries]:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        transaction.add_responses([*(response(i) for i in range(5)), response(5, "probe:sums")])
        transaction.add_responses([response(i, "law") for i in LAW])
        transaction.add_labels(LABELS)
        transaction.emit(OUTPUTS)
        transaction.save_state(context_parts("0123456789ab", scored_context()))
    with closing(open_queries(url)) as queries:
        yield queries


@pytest.fixture
def report(queries: StoreQueries) -> Report:
    made = make_report(queries, START, END, {"history": 0.88}, 0.8)
    return replace(made, driftgauge_version="0.0.0")


def matches_golden(name: str, text: str) -> bool:
    """Whether the text is that of the golden file; with UPDATE_GOLDEN set, the file is written first."""
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    return (GOLDEN / name).read_text() == text


def test_a_full_report_equals_the_golden_file(report: Report) -> None:
    assert matches_golden("full.md", to_markdown(report))
    assert matches_golden("full.json", to_json_report(report))


def test_a_report_of_an_empty_period_equals_the_golden_file(queries: StoreQueries) -> None:
    made = make_report(queries, END + 10 * DAY_S, END + 11 * DAY_S)
    made = replace(made, acquisition=None, driftgauge_version="0.0.0")
    assert matches_golden("empty.md", to_markdown(made))
    assert matches_golden("empty.json", to_json_report(made))


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
    third = replace(first, estimate=replace(first.estimate, model="large-model"))
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


def test_report_files_are_named_after_the_period_and_replaced(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    paths = write_report(report, folder)
    assert write_report(report, folder) == paths
    assert sorted(path.name for path in folder.iterdir()) == [
        "report-20260101T0000Z-20260102T0000Z.json",
        "report-20260101T0000Z-20260102T0000Z.md",
    ]
    assert paths[0].read_text() == to_markdown(report)


def test_only_the_configured_formats_are_written(report: Report, tmp_path: Path) -> None:
    assert [path.suffix for path in write_report(report, tmp_path, ["json"])] == [".json"]


def test_a_folder_that_cannot_be_written_is_a_clear_error(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match="no report in"):
        write_report(report, tmp_path / "file")


def test_the_latest_report_is_written_from_a_store(queries: StoreQueries, url: str, tmp_path: Path) -> None:  # noqa: ARG001 - makes the store
    markdown, as_json = write_latest_report(url, tmp_path, DAY_S)
    assert markdown.read_text().startswith("# Accuracy, 2026-01-01 00:00 to 2026-01-02 00:00 UTC")
    assert json.loads(as_json.read_text())["end"] == "2026-01-02T00:00:00Z"
    assert (
        stat.S_IMODE(markdown.stat().st_mode) & 0o077
        == stat.S_IMODE(tmp_path.joinpath("store.db").stat().st_mode) & 0o077
    )


def test_a_store_without_estimates_is_an_error(url: str, tmp_path: Path) -> None:
    open_store(url, topics=Topics()).close()
    with pytest.raises(ConnectorError, match="no estimate yet"):
        write_latest_report(url, tmp_path, DAY_S)
