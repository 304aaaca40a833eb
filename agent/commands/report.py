"""``driftgauge report``: a report at once, without waiting for the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, settings_from, store_url
from driftgauge.agent.commands.terminal import print_line


def report(
    store: StoreOption = "",
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the report. Default: the setting report.folder.")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the report of the last period now, as Markdown and JSON."""
    from driftgauge.agent.service import build

    write_report = build.report_writer(settings_from(config, overrides), store_url(store), folder)
    for path in write_report():
        print_line(str(path))
