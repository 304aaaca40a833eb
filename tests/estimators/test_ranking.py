"""`driftgauge evaluate --protocol ranking` on the bundled recording."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.evaluation.ranking_trials import calibration_cells, outcome

REFERENCE = Path(__file__).parents[1] / "recordings" / "reference.npz"
MEASURES = ("regret", "precision_at_3", "rank_correlation")


def test_a_data_list_misses_less_than_what_it_replaces(tmp_path: Path) -> None:
    out = tmp_path / "ranking.json"
    options = ["--protocol", "ranking", "--labels", "0,5", "--repeats", "20", "--jobs", "1", "--json", str(out)]
    ended = CliRunner().invoke(app, ["evaluate", str(REFERENCE), *options])
    assert ended.exit_code == 0, ended.output
    assert "2,000 of 2,000 responses used." in ended.output
    result = json.loads(out.read_text())
    cells = {(cell["method"], cell["n_labels"]): cell for cell in result["cells"]}
    methods = {"data_list", "es_forest", "label_priorities", "random", "labels_alone"}
    assert cells.keys() == {(method, n) for method in methods for n in (0, 5)} - {("labels_alone", 0)}
    for n in (0, 5):
        ours = cells["data_list", n]
        assert ours["regret"] < 0.5
        assert ours["precision_at_3"] > 0.8
        assert ours["rank_correlation"] > 0.9
        for method in ("es_forest", "random"):
            assert cells[method, n]["regret"] > 5 * ours["regret"]
    assert cells["labels_alone", 5]["regret"] > 2 * cells["data_list", 5]["regret"]
    for cell in cells.values():
        assert cell["n_trials"] == 20
        assert all(cell[f"{name}_standard_error"] > 0 for name in MEASURES)
    (mean,) = [m for m in result["means"] if (m["method"], m["n_labels"]) == ("data_list", 5)]
    assert [mean[name] for name in MEASURES] == [cells["data_list", 5][name] for name in MEASURES]
    for row in result["calibration"]:
        if row["n_labels"] == 0:
            assert 0.05 <= row["stated"] <= 0.9
    assert sum(row["n"] for row in result["calibration"]) == 2 * 20 * 10  # trials and domains


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--protocol", "ranking", "--target", str(REFERENCE), "--top-k", "3"], ["--target", "--top-k"]),
        (["--protocol", "selection", "--k", "1", "--plot", "x.png"], ["--k", "--plot"]),
        (["--protocol", "selection", "--max-compositions", "400"], ["--max-compositions"]),
        (["--protocol", "ranking", "--feature-set", "published"], ["--feature-set"]),
        (["--repeats", "3"], ["--repeats"]),
    ],
)
def test_options_that_the_protocol_does_not_use_are_refused(options: list[str], named: list[str]) -> None:
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", str(REFERENCE), *options])
    assert ended.exit_code == 2
    assert f"not used by --protocol {options[1] if '--protocol' in options else 'compositions'}" in ended.output
    for option in named:
        assert option in ended.output


def test_a_recording_with_three_domains_cannot_be_ranked(tmp_path: Path) -> None:
    with np.load(REFERENCE) as arrays:
        content = dict(arrays)
    content["domain"] = np.array(["abc"[i % 3] for i in range(len(content["domain"]))])
    path = tmp_path / "three.npz"
    np.savez(path, **content)
    ended = CliRunner().invoke(app, ["evaluate", str(path), "--protocol", "ranking", "--jobs", "1"])
    assert ended.exit_code != 0
    assert "3 domains with enough labels; this protocol needs 4" in str(ended.exception)


def test_the_regret_is_what_the_first_three_miss() -> None:
    value = np.array([0.3, 0.2, 0.1, 0.05, -0.1])
    assert outcome(value, value).tolist() == pytest.approx([0.0, 1.0, 1.0])
    regret, precision, correlation = outcome(-value, value)
    assert (regret, precision, correlation) == pytest.approx((100 * (0.6 - 0.05), 1 / 3, -1.0))


def test_calibration_compares_stated_with_observed_by_bin() -> None:
    stated = {0: [(0.9, True), (0.9, True), (0.86, False), (0.1, False)], 5: [(0.1, True)]}
    assert calibration_cells(stated) == [
        {"n_labels": 0, "stated": 0.1, "observed": 0.0, "n": 1},
        {"n_labels": 0, "stated": pytest.approx(2.66 / 3), "observed": pytest.approx(2 / 3), "n": 3},
        {"n_labels": 5, "stated": 0.1, "observed": 1.0, "n": 1},
    ]
