"""`driftgauge evaluate --protocol selection` on the bundled recording."""

import json
from pathlib import Path

from typer.testing import CliRunner

from driftgauge.agent.cli import app

REFERENCE = Path(__file__).parents[1] / "recordings" / "reference.npz"


def test_systematic_draws_lower_the_error_and_the_most_uncertain_responses_raise_it(tmp_path: Path) -> None:
    out = tmp_path / "selection.json"
    options = ["--protocol", "selection", "--labels", "20", "--repeats", "20", "--jobs", "1", "--json", str(out)]
    ended = CliRunner().invoke(app, ["evaluate", str(REFERENCE), *options])
    assert ended.exit_code == 0, ended.output
    result = json.loads(out.read_text())
    assert result["default_plan"] == "systematic"
    cells = {(cell["plan"], cell["estimator"]): cell for cell in result["cells"]}
    assert len(cells) == 4 * 3
    assert {(cell["file"], cell["n_labels"]) for cell in cells.values()} == {("reference", 20)}
    assert cells["systematic", "labels_alone"]["mae_ratio_to_uniform"] < 0.9
    assert cells["uniform", "labels_alone"]["mae_ratio_to_uniform"] == 1
    assert cells["most_uncertain", "labels_alone"]["mae_ratio_to_uniform"] > 1.5
    uniform, systematic = (cells[plan, "labels_alone"]["coverage"] for plan in ("uniform", "systematic"))
    assert systematic > uniform - 0.05
