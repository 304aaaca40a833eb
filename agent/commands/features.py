"""``driftgauge features``: the features of every response in a file, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import FeatureSetOption, FilesArgument, in_a_folder, refuse_to_overwrite
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line, progress, write_json


def features(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", callback=in_a_folder, help="File to write: .npz or .jsonl.")],
    feature_set: FeatureSetOption = "extended",
    account: Annotated[
        Path | None,
        typer.Option(
            "--json",
            callback=in_a_folder,
            help="Write how many records were used, and why others were not, as JSON.",
        ),
    ] = None,
) -> None:
    """Write the features of every response of recordings (.npz), or of files of payloads or events.

    An .npz has the labels too, so that evaluate can read it. A file of events holds JSON on a line each, over several
    lines or in an array, or server-sent events; also .gz or .zst.
    The exit code is 1 when no record could be used.
    """
    if out.suffix not in {".npz", ".jsonl"}:
        raise typer.BadParameter("the output must end in .npz or .jsonl", param_hint="--out")
    refuse_to_overwrite(files, out)
    from driftgauge.agent.outlets.account import FinalAccount, Waiting
    from driftgauge.connectors.files.feature_tables import write_features

    with progress("features") as advance:
        written = write_features(files, out, advance, feature_set)
    final = FinalAccount(written.account, Waiting(written.unfinished))
    print_line(f"{written.responses} responses -> {out}")
    for line in final.lines():
        print_line(line)
    write_json(account, final.to_json())
    if not written.account.used:
        raise typer.Exit(EXIT_FAILED)
