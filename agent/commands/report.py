"""``driftgauge report``: a report at once, without waiting for the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, settings_from, store_url
from driftgauge.agent.commands.terminal import EXIT_CONDITION, errors, print_line


def report(
    store: StoreOption = "",
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the report. Default: the setting report.folder.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with code 3 when this holds, such as below_target>0; may be given several times. Counted are "
            "below_target, unclear, no_estimate, meets_target, domains, alarms, warnings and dead_letters."
        ),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the report of the last period now, as Markdown, JSON and HTML."""
    from driftgauge.agent.outlets.report_conditions import parse_condition
    from driftgauge.agent.service import build

    try:
        conditions = [parse_condition(text) for text in fail_on or []]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-on") from None
    written = build.report_writer(settings_from(config, overrides), store_url(store), folder)()
    for path in written.paths:
        print_line(str(path))
    failed = [condition for condition in conditions if condition.holds(written.report)]
    for condition in failed:
        errors.print(f"{condition} holds", markup=False, highlight=False)
    if failed:
        raise typer.Exit(EXIT_CONDITION)
