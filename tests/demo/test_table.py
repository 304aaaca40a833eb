"""The live table: its content, and that no name from events can steer a terminal."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from driftgauge.agent.outlets.live_table import LatestOutputs, LiveTable, Row, render, render_text
from driftgauge.agent.outlets.summary import summary
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Priority

ESTIMATE = Estimate(
    domain="add", fingerprint="f", model="m", window_start=0.0, window_end=60.0, watermark=60.0, revision=1,
    status="ok", status_reason=None, accuracy=0.9, ci_low=0.85, ci_high=0.95, confidence_level=0.9, estimator="mean",
    n_events=1_200, n_labels=30, effective_sample_size=30.0, accuracy_labelled=0.93, classifier_version=3,
)  # fmt: skip
ALERT = Alert("drift", "warning", "mul", "f", 50.0, 40.0, "p_correct", 0.52, 0.24, "moved", 1)
PRIORITY = Priority(
    rank=1, domain="mul", fingerprint="f", value=0.05, traffic_share=0.1, target=0.8, accuracy=0.3, n_events=1_000,
    n_labels=0, why="10% of traffic, no labels",
)  # fmt: skip


def rows() -> list[Row]:
    unlabelled = replace(
        ESTIMATE, domain="mul", accuracy=0.3, ci_low=0.1, ci_high=0.5, n_labels=0, accuracy_labelled=None
    )
    unknown = replace(ESTIMATE, domain="seq", status="insufficient_data", status_reason="12 of 50 responses",
                      accuracy=None, ci_low=None, ci_high=None, n_events=12)  # fmt: skip
    latest = LatestOutputs()
    latest.add([ESTIMATE, unlabelled, unknown, ALERT, Acquisition(60.0, (PRIORITY,))])
    return latest.rows()


def on_terminal(table: Any, width: int = 160) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_shows_the_numbers_of_its_domain() -> None:
    heading, add, mul, seq = render_text(rows()).splitlines()
    assert heading.split() == [
        "domain",
        "events",
        "labels",
        "accuracy",
        "interval",
        "by",
        "labels",
        "drift",
        "priority",
    ]
    assert "1,200" in add
    assert "0.85 to 0.95" in add
    assert mul.split()[-5:] == ["p_correct", "0.52", "->", "0.24", "1"]
    assert "12 of 50 responses" in seq
    assert " - " in seq


def test_the_table_on_a_terminal_has_the_content_of_the_table_as_text() -> None:
    shown = on_terminal(render(rows()))
    for word in render_text(rows()).split():
        assert word in shown


def test_the_table_shows_the_newest_window_in_any_order_of_revisions() -> None:
    latest = LatestOutputs()
    late = replace(ESTIMATE, window_end=30.0, revision=2, accuracy=0.1)
    latest.add([ESTIMATE, late])
    assert latest.rows()[0].estimate is ESTIMATE
    revised = replace(ESTIMATE, revision=2)
    latest.add([revised])
    assert latest.rows()[0].estimate is revised


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;pwned\x07", "[red]x[/red]", "a\nb", "x" * 10_000, "\u202eevil"])
def test_names_from_events_cannot_steer_the_terminal(name: str) -> None:
    hostile = Row(
        replace(ESTIMATE, domain=name), (replace(ALERT, domain=name, what=name),), replace(PRIORITY, why=name)
    )
    for text in (render_text([hostile]), summary([hostile], {}), on_terminal(render([hostile]), 400)):
        assert not set(re.sub(r"\x1b\[[\d;]*m", "", text)) & set("\x1b\x07\u202e")
        assert max(map(len, text.splitlines())) <= 420
    assert len(render_text([hostile]).splitlines()) == 2
    assert "[red]" in on_terminal(render([hostile]), 400) or "red" not in name


@pytest.mark.parametrize("width", [80, 100, 130])
def test_the_table_fits_the_terminal_and_keeps_the_important_columns(width: int) -> None:
    lines = re.sub(r"\x1b\[[\d;]*m", "", on_terminal(render(rows(), width=width), width)).splitlines()
    assert max(map(len, lines)) <= width
    for word in ("mul", "0.30", "0.10 to 0.50", "p_correct 0.52 -> 0.24"):
        assert any(word in line for line in lines)
    assert ("|" in "".join(lines)) == (width == 130)


def test_the_table_shows_drift_within_the_window_of_the_estimate() -> None:
    latest = LatestOutputs()
    latest.add([replace(ESTIMATE, domain="mul", window_start=60.0, window_end=120.0), ALERT])
    assert latest.rows()[0].drift is None
    latest.add([later := replace(ALERT, event_time=60.0, number=2)])
    assert latest.rows()[0].drift is later


def test_a_domain_is_new_when_it_appears_a_whole_window_after_the_first() -> None:
    latest = LatestOutputs()
    for domain, end in (("a", 60.0), ("b", 119.0), ("c", 120.0), ("c", 180.0), ("a", 180.0), ("b", 180.0)):
        latest.add([replace(ESTIMATE, domain=domain, window_start=end - 60.0, window_end=end)])
    assert [(row.name, row.is_new) for row in latest.rows()] == [("a", False), ("b", False), ("c", True)]


def test_without_a_terminal_lines_of_progress_precede_the_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with LiveTable(console, total=2_500) as table:
        for _ in range(5):
            table.batch([None] * 500, [ESTIMATE], None)  # type: ignore[list-item]  # only their number counts
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split(" of ")[0] for line in lines[:2]] == ["1,000", "2,000"]
    assert lines[2].startswith("domain")
    assert lines[3].startswith("add")
    assert "\x1b" not in console.file.getvalue()


def test_on_a_terminal_the_last_table_stays_on_the_screen() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with LiveTable(console) as table:
        table.batch([], [ESTIMATE], None)
    assert isinstance(console.file, io.StringIO)
    assert "0.85 to 0.95" in console.file.getvalue()
