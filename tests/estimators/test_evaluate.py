"""The evaluation on a small generated recording, whose signal depends on correctness."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.evaluation.compositions import compositions, read_traffic
from driftgauge.agent.evaluation.evaluate import Protocol, evaluate
from driftgauge.agent.evaluation.view import plot, render
from driftgauge.connectors.base import ConnectorError

FIELDS = {
    "file", "target", "protocol", "method", "k", "n_labels", "median_mae", "iqr", "median_mae_outside", "spearman",
    "coverage", "mean_width", "n_compositions",
}  # fmt: skip


def recording(
    path: Path, *, graded: bool = False, alternatives: bool = True, domains: int = 4, size: int = 60, top_k: int = 0
) -> Path:
    rng = np.random.default_rng(0)
    rows, n_tokens = size * domains, 6
    domain = np.repeat([f"d{i}" for i in range(domains)], size)
    accuracy = np.repeat(np.linspace(0.3, 0.9, domains), size)
    right = rng.random(rows) < accuracy
    nll = rng.exponential(np.where(right, 0.05, 0.6)[:, None], (rows, n_tokens)).ravel().astype(np.float32)
    arrays = {"entropy": nll * 1.2} if alternatives else {}
    if top_k:
        share = (1 - np.exp(-nll))[:, None] * rng.dirichlet(np.ones(top_k), len(nll))[:, :-1]
        arrays["topk_logprobs"] = np.sort(np.log(np.column_stack([np.exp(-nll), share]) + 1e-9), axis=1)[:, ::-1]
    correct = np.where(right, 0.8, 0.3).astype(np.float32) if graded else right.astype(np.int8)
    offsets = np.arange(0, rows * n_tokens + 1, n_tokens)
    np.savez(path, offsets=offsets, chosen_logprob=-nll, domain=domain, correct=correct, **arrays)  # type: ignore[arg-type]  # numpy types the rest as bool
    return path


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("traffic") / "small.npz")


@pytest.mark.parametrize("protocol", ["compositions", "labels", "coverage"])
def test_every_protocol_gives_cells_with_the_documented_fields(traffic: Path, protocol: Protocol) -> None:
    result = evaluate([traffic], protocol, ks=(1, 2), max_compositions=1, labels=(0, 5))
    assert result["default_method"] in {cell["method"] for cell in result["cells"]}
    for cell in result["cells"]:
        assert set(cell) >= FIELDS
        assert cell["file"] == "small"
        assert not any(isinstance(value, float) and math.isnan(value) for value in cell.values())


def test_predictions_of_single_responses_are_judged_before_their_label_and_from_other_domains(traffic: Path) -> None:
    before = evaluate([traffic], "responses")
    assert before["cells"] == []
    by_domain = {cell["domain"]: cell for cell in before["responses"]}
    assert set(by_domain) == {None, "d0", "d1", "d2", "d3"}
    assert sum(cell["n"] for domain, cell in by_domain.items() if domain) == by_domain[None]["n"]
    (outside,) = evaluate([traffic], ks=(3,), max_compositions=1)["responses"]
    assert (outside["k"], outside["domain"]) == (3, None)
    assert outside["n"] == 60  # the one domain outside the composition
    for cell in (by_domain[None], outside):
        assert cell["auroc"] > 0.7
        assert cell["aurc_best"] <= cell["aurc"] < 1 - cell["accuracy"]
        assert cell["kept_accuracy"][-1] == pytest.approx(cell["accuracy"])
        assert cell["kept_accuracy"][49] > cell["accuracy"] + 0.05


def test_with_another_target_only_its_responses_are_judged(traffic: Path, tmp_path: Path) -> None:
    other = recording(tmp_path / "later.npz", domains=2, size=30)
    cells = evaluate([traffic], "responses", target=other)["responses"]
    assert {cell["domain"]: cell["n"] for cell in cells} == {None: 60, "d0": 30, "d1": 30}


def test_the_live_protocol_runs_the_agent_with_labels_in_every_domain(traffic: Path) -> None:
    cells = evaluate([traffic], "live", max_compositions=2, labels=(0, 20))["cells"]
    assert all(set(cell) >= FIELDS for cell in cells)
    by_place = {(cell["method"], cell["n_labels"]): cell for cell in cells}
    assert set(by_place) == {("agent", 0), ("agent", 20), ("labels_alone", 20)}
    assert by_place["agent", 20]["missing"] == 0.0
    assert by_place["agent", 20]["median_mae"] < 0.15
    assert by_place["agent", 20]["n_compositions"] == 2
    assert evaluate([traffic], "live", max_compositions=2, labels=(0, 20))["cells"] == cells


def test_the_same_seed_gives_the_same_cells_in_one_process_and_in_two(traffic: Path) -> None:
    one, two = (evaluate([traffic], ks=(1,), max_compositions=2, jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_a_file_with_chosen_logprobs_only_and_graded_labels_is_evaluated(tmp_path: Path) -> None:
    path = recording(tmp_path / "graded.npz", graded=True, alternatives=False)
    methods = {cell["method"]: cell for cell in evaluate([path], ks=(2,), max_compositions=1)["cells"]}
    assert methods["averaged"]["median_mae"] < 0.2
    assert "atc_nll_mean" in methods
    assert "atc_entropy_max" not in methods


def test_another_recording_can_be_the_target(traffic: Path, tmp_path: Path) -> None:
    other = recording(tmp_path / "later.npz", domains=3)
    cells = evaluate([traffic], ks=(1,), max_compositions=1, target=other)["cells"]
    assert {cell["target"] for cell in cells} == {"later"}


def test_a_recording_is_evaluated_with_each_number_of_alternatives(tmp_path: Path) -> None:
    path, out = recording(tmp_path / "small.npz", domains=2, top_k=5), tmp_path / "cells.json"
    few = ["--protocol", "coverage", "--labels", "0", "--k", "1", "--max-compositions", "1", "--jobs", "1"]
    arguments = ["evaluate", str(path), "--top-k", "2,5", *few, "--json", str(out), "--plot", str(tmp_path / "p.png")]
    ended = CliRunner().invoke(app, arguments)
    assert (ended.exit_code, "small, 2 alternatives" in ended.output) == (0, True)
    errors = {(c["top_k"], c["method"]): c["median_mae"] for c in json.loads(out.read_text())["cells"]}
    assert {top_k for top_k, _ in errors} == {2, 5}
    assert errors[2, "averaged"] != errors[5, "averaged"]
    whole = evaluate([path], "coverage", ks=(1,), max_compositions=1, labels=(0,))["cells"]
    assert {c["method"]: c["median_mae"] for c in whole} == {m: error for (k, m), error in errors.items() if k == 5}


def test_traffic_has_the_features_of_the_set_that_is_asked_for(tmp_path: Path) -> None:
    path = recording(tmp_path / "small.npz", domains=2, top_k=5)
    published, extended = (read_traffic(path, name).features for name in ("published", "extended"))
    assert (published.shape[1], extended.shape[1]) == (17, 22)
    assert not np.isnan(extended).any()
    assert (extended[:, :17] == published).all()
    assert np.isnan(read_traffic(path, "extended", 1).features[:, 17:]).all()


def test_a_recording_with_one_domain_is_evaluated(tmp_path: Path) -> None:
    cells = evaluate([recording(tmp_path / "one.npz", domains=1)], ks=(1, 2))["cells"]
    assert {cell["k"] for cell in cells} == {1}
    assert {cell["spearman"] for cell in cells} == {None}


def test_domains_with_too_few_held_out_rows_are_left_out(tmp_path: Path) -> None:
    cells = evaluate([recording(tmp_path / "tiny.npz", domains=2, size=25)], ks=(1, 2), max_compositions=1)["cells"]
    assert {cell["k"] for cell in cells} == {1}
    assert all(np.isfinite(cell["median_mae"]) for cell in cells)


@pytest.mark.parametrize("protocol", ["compositions", "responses", "live"])
def test_of_a_long_recording_some_responses_of_each_domain_are_used_drawn_by_the_seed(
    tmp_path: Path, protocol: Protocol
) -> None:
    path = recording(tmp_path / "long.npz", domains=3, size=60)
    measured = partial(evaluate, [path], protocol, ks=(2,), max_compositions=1, labels=(5,), per_domain=25)
    first, again, other = measured(seed=1), measured(seed=1), measured(seed=2)
    account = first["accounts"][str(path)]
    assert (account["used"], account["reasons"]) == (75, {"domain_beyond_25_labels": 105})
    assert first["cells"] == again["cells"]
    assert first["cells"] != other["cells"] or first["responses"] != other["responses"]


def test_a_file_that_is_not_a_recording_raises(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ConnectorError, match="cannot be read"):
        evaluate([tmp_path / "bad.npz"])


def test_compositions_are_all_sets_of_domains_or_a_seeded_choice() -> None:
    assert len(compositions("abcdefghij", 4, 1000, seed=0)) == 210
    few = compositions("abcdefghij", 4, 20, seed=0)
    assert len(set(few)) == 20
    assert few == compositions("abcdefghij", 4, 20, seed=0)


def test_the_command_prints_tables_and_writes_cells(traffic: Path, tmp_path: Path) -> None:
    out = tmp_path / "cells.json"
    arguments = ["evaluate", str(traffic), "--k", "1", "--max-compositions", "1", "--jobs", "1", "--json", str(out)]
    ended = CliRunner().invoke(app, arguments)
    assert (ended.exit_code, "averaged" in ended.output) == (0, True)
    assert {cell["k"] for cell in json.loads(out.read_text())["cells"]} == {1}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--k", "two"),
        ("--labels", "5;20"),
        ("--protocol", "guess"),
        ("--plot", "x.txt"),
        ("--top-k", "0"),
        ("--top-k", "many"),
        ("--feature-set", "mine"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(traffic: Path, option: str, value: str) -> None:
    ended = CliRunner().invoke(app, ["evaluate", str(traffic), option, value])
    assert ended.exit_code == 2
    assert value in ended.output


def test_an_evaluation_is_shown_as_tables_and_as_a_picture(traffic: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = evaluate([traffic], "labels", ks=(2,), max_compositions=1, labels=(0, 5))
    console = Console(record=True, width=160)
    console.print(render(result))
    assert "labels_alone" in console.export_text()
    plot(result, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize("protocol", ["compositions", "responses", "ranking"])
def test_no_cell_is_cut_however_narrow_the_terminal_is(traffic: Path, protocol: str) -> None:
    options = ["--k", "2", "--max-compositions", "1"] if protocol == "compositions" else []
    few = ["--repeats", "2", "--labels", "5"] if protocol == "ranking" else options
    ended = CliRunner().invoke(app, ["evaluate", str(traffic), "--protocol", protocol, *few], env={"COLUMNS": "40"})
    assert ended.exit_code == 0
    assert "\u2026" not in ended.output  # rich marks a cell that it cut


def test_the_risk_coverage_curve_is_shown_as_a_table_and_as_a_picture(traffic: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "cells.json", tmp_path / "picture.svg"
    arguments = ["evaluate", str(traffic), "--protocol", "responses", "--json", str(out), "--plot", str(picture)]
    ended = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert ended.exit_code == 0
    whole = next(cell for cell in json.loads(out.read_text())["responses"] if cell["domain"] is None)
    for name in ("brier", "log_loss", "auroc", "calibration_error", "aurc"):
        assert f"{whole[name]:.3f}" in ended.output
    assert "<svg" in picture.read_text()
