"""``driftgauge fit``: a fitted file, from which new contexts start warm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    ContextOption,
    OptionalFilesArgument,
    SeedOption,
    SetOption,
    in_a_folder,
    settings_from,
    store_url,
)
from driftgauge.agent.commands.terminal import print_line, print_table, progress


def fit(
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=in_a_folder, help="Fitted file to write. Name it in the setting context.start_from."
        ),
    ],
    files: OptionalFilesArgument = None,
    store: Annotated[str, typer.Option(help="Learn the labelled responses of this store, instead of files.")] = "",
    context: ContextOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Fit the classifiers to labelled traffic (.npz files, or a store), so that new contexts start warm."""
    from driftgauge.agent.evaluation import fit as fitting
    from driftgauge.agent.service import build_pipeline
    from driftgauge.agent.service.fit_files import save_fit
    from driftgauge.connectors.files.recordings import read_recording

    if bool(files) == bool(store):
        raise typer.BadParameter("give either recordings or --store", param_hint="FILES")
    settings = build_pipeline.unfitted_pipeline_settings(settings_from(config, overrides))
    if url := store_url(store):
        rows = fitting.rows_of_store(url, context, settings.committee.max_training_rows)
    else:
        recordings = [read_recording(path) for path in files or []]
        rows = fitting.rows_of(recordings, settings.features, seed)
    with progress("learning", len(rows)) as advance:
        fitted = fitting.fit(rows, settings, advance)
    save_fit(out, fitted.context)
    print_table(fitting.table(fitted.metrics))
    print_line(f"{len(rows)} labels -> {out}")
