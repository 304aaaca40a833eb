"""`make figures` on two small generated recordings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.estimators.test_evaluate import recording
from tests.figures.__main__ import main, pairs
from tests.figures.tables import live, with_labels, without_labels


def test_the_tables_of_every_recording_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("law.npz", "law_drift.npz"):
        recording(tmp_path / name, domains=3, size=40)
    arguments = ["--recordings", str(tmp_path), "--out", str(tmp_path / "out"), "--jobs", "1"]
    main([*arguments, "--compositions", "1", "--runs", "1", "--only", "live", "--only", "responses"])
    text, cells = (tmp_path / "out" / name for name in ("figures.md", "figures.json"))
    assert text.read_text() in capsys.readouterr().out
    rows = [line for line in text.read_text().splitlines() if line.startswith("| law")]
    assert {row.split(" | ")[0] for row in rows} == {"| law", "| law \u2192 law_drift"}
    assert {cell["n_labels"] for cell in json.loads(cells.read_text())["cells"]} == {0, 10, 20, 50}
    assert "### The whole agent" in text.read_text()
    assert "### Single responses" in text.read_text()
    assert "### Without labels" not in text.read_text()


def test_a_drift_is_estimated_from_the_recording_before_it() -> None:
    names = ["a.npz", "a_drift.npz", "b_drift.npz", "drift.npz", "reference.npz"]
    found = [(source.stem, target and target.stem) for source, target in pairs([Path(name) for name in names])]
    assert found == [
        ("a", None),
        ("a", "a_drift"),
        ("b_drift", None),
        ("reference", "drift"),
        ("reference", None),
    ]


def cell(file: str, method: str, k: int | None, n: int, mae: float | None, coverage: float = 0.9) -> dict[str, object]:
    return {
        "file": file, "target": None, "method": method, "k": k, "n_labels": n, "median_mae": mae, "coverage": coverage,
        "mean_width": 0.2,
    }  # fmt: skip


def test_the_default_is_compared_with_the_best_rival_of_each_recording() -> None:
    errors = {"averaged": 0.1, "constant": 0.4, "es_forest_17": 0.2, "forest": 0.2, "atc_surprisal": 0.01}
    cells = [
        {**cell(file, method, 2, 0, mae), "n_compositions": 6, "spearman": 0.5}
        for file, single in (("a", 0.05), ("b", 0.3))
        for method, mae in {**errors, "atc_nll_max": single, "atc_nll_mean": 0.5}.items()
    ]
    lines = without_labels(cells).splitlines()
    assert lines[2] == "| a | 2 | 6 | **.100** | .400 | .200 | .200 | .050 (`nll_max`) | 2.00 | .50 | .90 | .20 |"
    assert lines[3] == "| b | 2 | 6 | **.100** | .400 | .200 | .200 | .300 (`nll_max`) | .50 | .50 | .90 | .20 |"
    assert lines[4] == "| all | 2 | 2 |  |  | x .50 |  |  | 1.00 |  | .90 | .20 |"


def test_the_row_of_all_has_the_geometric_mean_of_the_ratios_and_the_mean_coverage() -> None:
    cells = [
        cell("a", "averaged", 5, 20, 0.02, 0.8), cell("a", "labels_alone", 5, 20, 0.04),
        cell("b", "averaged", 7, 20, 0.08, 1.0), cell("b", "labels_alone", 7, 20, 0.04), cell("a", "lodo_t", 5, 0, 0.1),
    ]  # fmt: skip
    lines = with_labels(cells).splitlines()
    assert lines[0] == "| traffic | labelled domains | 0 labels | 20 labels | `lodo_t`, 0 labels |"
    assert lines[2] == "| a | many | no estimate | **.020** / .040 / .80 / .20 | .90 / .20 |"
    assert lines[4] == "| all | many | - / - / - | x 1.00 / .90 / .20 | .90 / .20 |"


def test_an_estimate_that_is_missing_is_no_zero() -> None:
    lines = live([{**cell("a", "agent", None, 10, None), "missing": 1.0}, cell("a", "labels_alone", None, 10, 0.1)])
    assert lines.splitlines()[2:] == ["| a | no estimate |", "| all | - / - / - |"]
