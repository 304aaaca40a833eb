"""Draws the picture of the README from the store that ``make demo`` wrote.

make demo && .venv/bin/python -m tests.picture out/demo docs/demo.svg
"""

import io
import sys
from pathlib import Path

from rich.console import Console

from driftgauge.agent.demo.embedded import PLAN, bundled, closing_words, settings_in, stored_rows
from driftgauge.agent.demo.processes import stored_account
from driftgauge.agent.outlets.live_table import render
from driftgauge.agent.service.replay import open_files

WIDTH = 126


def draw(folder: Path, out: Path) -> None:
    """Draw the last table of the demo and its closing words, as a terminal shows them."""
    settings, replayed = settings_in(folder), open_files(bundled(), PLAN, seed=0)
    rows = stored_rows(settings)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ make demo", style="bold", highlight=False)
    console.print(render(rows, width=WIDTH))
    console.print()
    console.print(closing_words(rows, replayed, settings, {}, stored_account(settings)), markup=False, highlight=False)
    console.save_svg(str(out), title="driftgauge", unique_id="demo")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
