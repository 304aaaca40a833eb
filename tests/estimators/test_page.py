"""The page of an evaluation: every protocol has one, with every number, and it asks nobody for anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.commands import evaluate as command
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.drift_trials import drift
from driftgauge.agent.evaluation.evaluate import evaluate
from driftgauge.agent.evaluation.page import QUESTIONS, to_page
from driftgauge.agent.evaluation.ranking_trials import ranking
from driftgauge.agent.evaluation.segment_trials import segments
from driftgauge.agent.evaluation.selection_trials import selection
from driftgauge.agent.outlets.plots import Estimated, estimates, trend
from driftgauge.connectors.files.traffic import LabelPlan
from driftgauge.models.classify.reliability import reliability_bins
from tests.estimators.test_evaluate import recording
from tests.report.test_report_html import KNOWN, Page

PICTURES = {
    "Estimated and true accuracy of each domain": {"compositions"},
    "Error against the number of domains with labels": {"compositions"},
    "Error against the number of labels of the domain": {"labels", "coverage", "live"},
    "Predictions and labels": {"compositions", "responses"},
    "Stated and observed probability to be among the three most valuable": {"ranking"},
}


def unseen(*_: object) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("traffic") / "<b>small.npz")


def measured(protocol: Any, traffic: Path) -> dict[str, Any]:
    match protocol:
        case "selection":
            return selection([traffic], [5], 1, 0, 1, unseen)
        case "ranking":
            return ranking([traffic], [0, 10], 2, 0, 1, unseen)
        case "segments":
            return segments([traffic], [50], 1, 0, 1, unseen)
        case "drift":
            return drift([traffic], traffic, LabelPlan(20, 0.3), 1, 0, 1, unseen, PipelineSettings())
        case _:
            return evaluate([traffic], protocol, ks=(1, 2), max_compositions=1, labels=(0, 5))


@pytest.mark.parametrize("protocol", get_args(command.Protocol))
def test_every_protocol_has_a_page_with_its_numbers_and_pictures(protocol: str, traffic: Path) -> None:
    result = json.loads(json.dumps(measured(protocol, traffic)))
    text = to_page(result, protocol)
    page = Page(text)
    assert QUESTIONS[protocol] in page.texts
    assert {title for title in PICTURES if title in page.texts} == {t for t, of in PICTURES.items() if protocol in of}
    assert {tag for tag, _ in page.elements} <= KNOWN
    assert page.count("svg") == page.count("desc")
    assert re.findall(r"https?://|url\(|@import|nan|inf\b", text) == []
    for cell in [*result.get("cells", []), *result.get("estimated", []), *result.get("budgets", [])]:
        for value in cell.values():
            assert not isinstance(value, float) or f"{value:.3f}" in page.texts


def test_the_command_writes_the_page_beside_its_other_outputs(traffic: Path, tmp_path: Path) -> None:
    html, out = tmp_path / "page.html", tmp_path / "cells.json"
    ended = CliRunner().invoke(
        app, ["evaluate", str(traffic), "--protocol", "responses", "--html", str(html), "--json", str(out)]
    )
    assert ended.exit_code == 0
    assert html.read_text() == to_page(json.loads(out.read_text()), "responses")


def test_what_was_estimated_for_each_domain_comes_from_other_domains_only(traffic: Path) -> None:
    result = evaluate([traffic], ks=(1, 4), max_compositions=100)
    found = result["estimated"]
    assert [(cell["k"], cell["domain"], cell["n_compositions"]) for cell in found] == [
        (1, f"d{i}", 3) for i in range(4)
    ]
    for cell in found:
        assert cell["low_estimate"] <= cell["median_estimate"] <= cell["high_estimate"]
        ends = [abs(cell[end] - cell["accuracy"]) for end in ("low_estimate", "high_estimate")]
        assert cell["median_error"] <= max(ends) + 1e-9


def test_a_trend_stays_inside_its_picture_and_shows_numbers_that_do_not_touch() -> None:
    svg = trend("error", [(0, 0.1), (1, 0.5), (100, 0.0)], [(0, 0.3), (100, 0.2)], (0.0, 0.5), "labels")
    assert re.findall(r'text-anchor="middle">([\d.]+)<', svg) == ["0", "100"]
    assert 'd="M38 82L40.7 10L308 100"' in svg
    assert svg.count('class="target"') == 1
    assert "No values" in trend("error", [], [], (0.0, 1.0), "labels")


def test_estimates_that_are_right_lie_on_the_dashed_line() -> None:
    svg = estimates("all", [Estimated("law", 0.5, 0.5, 0.4, 0.6)], 0.0)
    assert 'cx="173" cy="135"' in svg
    assert "law: true 0.50, estimated 0.50" in svg
    assert "No estimates" in estimates("all", [], 0.0)


def test_predictions_are_counted_in_the_tenth_that_they_belong_to() -> None:
    found = reliability_bins([0.0, 0.09, 0.95, 1.0], [0.0, 1.0, 1.0, 1.0])
    assert [(one.n, one.observed) for one in found] == [(2, 0.5), (2, 1.0)]
    assert [round(one.predicted, 3) for one in found] == [0.045, 0.975]
    assert reliability_bins([], []) == []
