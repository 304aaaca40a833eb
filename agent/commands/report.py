"""``driftgauge report``: a report at once, without waiting for the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, settings_from, store_url
from driftgauge.agent.commands.terminal import EXIT_CONDITION, errors, print_line

if TYPE_CHECKING:
    from driftgauge.agent.outlets.report_span import Span


def report(
    store: StoreOption = "",
    folder: Annotated[
        str | None, typer.Option(help="Folder for the report. Default: the setting report.folder.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Begin of the period, with --to: a date in the time zone of report.timezone, or a time with offset, "
            "such as 2026-10-25T06:00:00+02:00. Default: the last report.period_s seconds of the store.",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="End of the period, which is not part of it: --from 2026-10-01 --to 2026-11-01."),
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
    """Write a report now, on the last period or a span of time, as Markdown, JSON and HTML."""
    from driftgauge.agent.outlets.report_conditions import parse_condition
    from driftgauge.agent.outlets.report_words import nothing_estimated
    from driftgauge.agent.service import build

    try:
        conditions = [parse_condition(text) for text in fail_on or []]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-on") from None
    settings = settings_from(config, overrides)
    span = _span(first, end, settings.report.timezone)
    written = build.report_writer(settings, store_url(store), folder).write(span)
    if not written.report.domains:
        errors.print(nothing_estimated(written.report), markup=False, highlight=False, soft_wrap=True)
    for file in written.files:
        print_line(file)
    failed = [condition for condition in conditions if condition.holds(written.report)]
    for condition in failed:
        errors.print(f"{condition} holds", markup=False, highlight=False)
    if failed:
        raise typer.Exit(EXIT_CONDITION)


def _span(first: str | None, end: str | None, timezone: str) -> Span | None:
    """The span that the user gave; None without one."""
    from driftgauge.agent.outlets.report_span import parse_span

    if not first and not end:
        return None
    try:
        if not first or not end:
            raise ValueError("a period needs both --from and --to")
        return parse_span(first, end, timezone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--from, --to") from None
