"""`driftgauge evaluate --protocol segments` on the bundled recording."""

import json
from pathlib import Path

from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.evaluation.segment_trials import FALLS, PLANTED

REFERENCE = Path(__file__).parents[1] / "recordings" / "reference.npz"


def test_larger_falls_of_a_planted_segment_are_found_more_often(tmp_path: Path) -> None:
    out = tmp_path / "segments.json"
    options = ["--protocol", "segments", "--labels", "0,200", "--repeats", "2", "--jobs", "1", "--json", str(out)]
    ended = CliRunner().invoke(app, ["evaluate", str(REFERENCE), *options])
    assert ended.exit_code == 0, ended.output
    result = json.loads(out.read_text())
    assert result["false_alarms"] == 0.01
    cells = {(cell["share"], cell["fall"]): cell for cell in result["cells"]}
    assert cells.keys() == {("none", 0.0)} | {(share, fall) for share in PLANTED if share != "none" for fall in FALLS}
    assert cells["none", 0.0]["found_share"] is None
    assert cells["none", 0.0]["false_share"] <= 0.1  # of 20 trials; more than 2 have a probability of 0.001
    assert cells["0.25", 0.4]["found_share"] >= 0.5
    assert cells["0.25", 0.4]["found_share"] > cells["0.10, pair", 0.2]["found_share"]
