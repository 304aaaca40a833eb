"""``driftgauge features``: the features of every response in a file, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.terminal import print_line, progress


def features(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="File to write: .npz or .jsonl.")],
) -> None:
    """Write the 17 features of every response of a recording (.npz), or of a file of payloads or events.

    Such a file holds JSON on a line each, over several lines or in an array, or server-sent events; also .gz or .zst.
    """
    if out.suffix not in {".npz", ".jsonl"}:
        raise typer.BadParameter("the output must end in .npz or .jsonl", param_hint="--out")
    from driftgauge.connectors.files.feature_tables import write_features

    with progress("features") as advance:
        count = write_features(file, out, advance)
    print_line(f"{count} responses -> {out}")
