"""`driftgauge evaluate --protocol drift` on small generated recordings, where it is known what changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.compositions import unseen
from driftgauge.agent.evaluation.drift_rivals import EVIDENTLY, has_evidently, rivals
from driftgauge.agent.evaluation.drift_streams import Detection, Stream
from driftgauge.agent.evaluation.drift_trials import drift, settings_for
from driftgauge.agent.evaluation.drift_truth import domain_truths
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.traffic import LabelPlan

pytestmark = pytest.mark.xdist_group("drift trials")  # so that one worker makes the fixtures of this module, once

SIZE = 200
"""Responses of each domain before the change."""

PLAN = LabelPlan(delay=50, fraction=0.2)
BEFORE = {"falls": (0.9, 6), "longer": (0.6, 6), "stays": (0.6, 6)}
LATER = {"falls": (0.2, 6), "longer": (0.6, 14), "new": (0.5, 6), "stays": (0.6, 6)}


def recording(path: Path, domains: Mapping[str, tuple[float, int]], size: int, seed: int) -> Path:
    """Responses of domains with this accuracy and number of tokens; wrong ones have more entropy. Labels are exact."""
    rng = np.random.default_rng(seed)
    domain = np.repeat(list(domains), size)
    correct = np.concatenate([np.arange(size) < round(size * accuracy) for accuracy, _ in domains.values()])
    lengths = np.repeat([n_tokens for _, n_tokens in domains.values()], size)
    nll = rng.exponential(np.repeat(np.where(correct, 0.05, 0.6), lengths)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    np.savez(path, offsets=offsets, chosen_logprob=-nll, entropy=nll, domain=domain, correct=correct.astype(np.int8))
    return path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("before") / "small.npz", BEFORE, SIZE, seed=1)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("later") / "small_later.npz", LATER, 120, seed=2)


@pytest.fixture(scope="module")
def result(before: Path, later: Path) -> dict[str, Any]:
    return drift([before], later, PLAN, 1, seed=0, jobs=1, progress=unseen, settings=PipelineSettings())


def test_the_truth_says_what_differs_of_each_domain(before: Path, later: Path) -> None:
    truths = {truth.domain: truth for truth in domain_truths(read_recording(before), read_recording(later))}
    assert {name: truth.differs for name, truth in truths.items()} == {
        "falls": "accuracy", "longer": "features", "new": "new", "stays": "nothing",
    }  # fmt: skip
    assert (truths["falls"].accuracy_before, truths["falls"].accuracy_after) == pytest.approx((0.9, 0.2))
    assert (truths["new"].accuracy_before, truths["new"].n_before, truths["new"].n_after) == (None, 0, 120)


def test_targets_are_the_accuracies_before_the_change(before: Path) -> None:
    settings = settings_for(read_recording(before), PipelineSettings())
    assert settings.targets == pytest.approx({"falls": 0.9, "longer": 0.6, "stays": 0.6})
    assert settings.default_target == pytest.approx(0.7)


def test_every_domain_that_differs_is_flagged_soon_and_no_other(result: dict[str, Any]) -> None:
    domains = {cell["domain"]: cell for cell in result["domains"]}
    for name in ("falls", "longer"):
        assert domains[name]["flagged"] == 1
        assert domains[name]["first_alert"] in ("drift", "below_target", "accuracy_gap", "estimate_below_target")
        assert 0 < domains[name]["median_labels"] < domains[name]["median_responses"] < 100
        assert domains[name]["median_events"] > 3 * domains[name]["median_responses"]
    assert (domains["stays"]["flagged"], domains["stays"]["median_responses"]) == (0, None)


def test_methods_are_compared_on_all_domains_that_differ_and_on_the_stream_without_a_change(
    result: dict[str, Any],
) -> None:
    methods = {(cell["method"], cell["signal"]): cell for cell in result["methods"]}
    assert {signal for name, signal in methods if name == "river ADWIN"} == {"p_correct", "entropy_mean"}
    agent, kswin = methods["agent", "alerts"], methods["river KSWIN", "entropy_mean"]
    assert (agent["flagged"], agent["flagged_accuracy"], agent["flagged_unchanged"]) == (1, 1, 0)
    assert agent["false_detections"] == 0
    assert kswin["flagged_accuracy"] == 1
    assert all(cell["microseconds"] > 0 for cell in methods.values())


def test_what_the_agent_raised_without_a_change_stands_beside_what_may_be_expected(result: dict[str, Any]) -> None:
    (budget,) = result["budgets"]
    assert (budget["streams"], budget["responses"]) == (1, 2 * 3 * SIZE)
    assert budget["warnings"] == budget["alarms"] == 0
    assert budget["warnings_expected_at_most"] == pytest.approx(6 * SIZE / (30 * 86_400))
    assert budget["alarms_expected_at_most"] == PipelineSettings().false_alarms


def test_false_warnings_are_counted_where_the_budget_allows_them(before: Path, later: Path) -> None:
    lavish = PipelineSettings(drift_false_warnings=300_000.0)
    found = drift([before], later, PLAN, 1, seed=0, jobs=1, progress=unseen, settings=lavish)
    assert found["budgets"][0]["warnings"] > 0
    assert 0 < found["methods"][0]["false_detections"] < found["budgets"][0]["warnings"]


def test_a_delay_counts_events_responses_and_labels_after_the_change(before: Path, later: Path) -> None:
    stream = Stream(read_recording(before), read_recording(later), LabelPlan(delay=10, fraction=1.0), seed=0)
    traffic, first = stream.traffic, 3 * SIZE
    assert stream.change == traffic.event_time[first]
    at = float(traffic.event_time[first + 99])  # the hundredth response, and the label of the ninetieth
    of_domain = traffic.domain[first : first + 100] == "falls"
    found = stream.delay(Detection("falls", at, "drift", is_info=False))
    assert found == ("drift", 100 + 10 + 90, of_domain.sum(), of_domain[:90].sum())  # ten labels of responses before it


@pytest.mark.skipif(not has_evidently(), reason="needs evidently: make drift installs it")
def test_evidently_finds_a_shift_in_the_first_batch_after_it() -> None:
    rng, detector = np.random.default_rng(0), rivals(seed=0)[EVIDENTLY]()
    values = [*rng.normal(0, 1, 250), *rng.normal(3, 1, 50)]
    assert [i for i, value in enumerate(values) if detector.update(float(value))] == [299]


def evaluated(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command_prints_tables_and_writes_the_same_again(
    before: Path, later: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "drift.json"
    options = ["--label-fraction", "0.2", "--label-delay", "50", "--repeats", "1", "--jobs", "1", "--json", str(out)]
    ended = evaluated(before, "--protocol", "drift", "--target", later, *options)
    assert ended.exit_code == 0, ended.output
    written = json.loads(out.read_text())
    assert (written["domains"], written["rule"]) == (result["domains"], result["rule"])
    assert (written["label_fraction"], written["label_delay"], written["shuffles"]) == (0.2, 50, 1)
    assert ("evidently" in written["left_out"]) == (not has_evidently())
    for text in ("small -> small_later", "ADWIN", "evidently", "falls", "accuracy", "600 of 600 responses used"):
        assert text in ended.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--protocol", "drift"], "--target"),
        (["--protocol", "drift", "--labels", "5"], "--labels"),
        (["--protocol", "alarms", "--label-fraction", "0.5"], "--label-fraction"),
        (["--protocol", "ranking", "--label-delay", "5"], "--label-delay"),
        (["--protocol", "live", "--set", "drift.false_warnings=5"], "--set"),
        (["--protocol", "drift", "--label-fraction", "2"], "--label-fraction"),
    ],
)
def test_options_that_do_not_fit_are_refused(before: Path, options: list[str], named: str) -> None:
    ended = evaluated(before, *options)
    assert ended.exit_code == 2
    assert named in ended.output


def test_a_recording_without_labels_is_a_failure(before: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(before))
    np.savez(tmp_path / "bare.npz", **{name: values for name, values in arrays.items() if name != "correct"})
    ended = evaluated(before, "--protocol", "drift", "--target", tmp_path / "bare.npz")
    assert ended.exit_code == 1
    assert "no response has a label" in ended.output + str(ended.exception)
