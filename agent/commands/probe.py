"""``driftgauge probe``: prompts with known answers are sent to the model, on a schedule or once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from
from driftgauge.agent.commands.produce import message_of
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.agent.labelling.probes import Prober
    from driftgauge.config.settings import Settings


def probe(
    probes: Annotated[
        Path | None, typer.Option(help="YAML file with prompts and answers. Default: the setting probes.file.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do the newest run of the schedule, or the rest of it, and end.")
    ] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Send prompts with known answers to the model and publish answers and labels, until SIGTERM or Ctrl-C.

    With --once the exit code is 1 when a probe of the run has no label.
    """
    with stopped_by_signals() as stopping:  # before the imports below, which take a second
        from driftgauge.agent.service.logs import start_logging

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        with contextlib.ExitStack() as stack:
            prober = open_prober(settings, probes, stack, stopping.wait)
            newest = newest_time(settings)
            if once:
                found = prober.run(newest)
                print_line(str(found))
                raise typer.Exit(EXIT_FAILED if found.errors else 0)
            if prober.has_begun(newest):
                prober.run(newest)
            run_on_schedule(prober, settings, stack)
            stopping.wait()


def open_prober(
    settings: Settings, file: Path | None, stack: contextlib.ExitStack, pause: Callable[[float], bool]
) -> Prober:
    """The sender of probes; the stack closes what it uses."""
    from driftgauge.agent.labelling import build
    from driftgauge.agent.labelling.probes import Prober, Step
    from driftgauge.agent.service import build as build_service
    from driftgauge.config.probe_file import load_probes
    from driftgauge.connectors.files.journal import Journal
    from driftgauge.connectors.kafka.sink import KafkaSink

    if file is None and not settings.probes.file:
        raise typer.BadParameter("name a file, here or in the setting probes.file", param_hint="--probes")
    if not settings.kafka.topics.labels:
        raise typer.BadParameter("the setting kafka.topics.labels names no topic", param_hint="--set")
    found = build.probes(
        load_probes(file or Path(settings.probes.file)), allow_functions=settings.probes.allow_functions
    )
    asking = build.asking(settings.probes, build.probed_model(settings.probes))
    journal = stack.enter_context(Journal(settings.probes.journal, Step))
    sink = stack.enter_context(contextlib.closing(KafkaSink(build_service.connection(settings))))
    return Prober(found, asking, journal, lambda event: message_of(event, settings), sink.publish, pause)


def newest_time(settings: Settings) -> float:
    """The newest time of the schedule, in UTC seconds."""
    from driftgauge.config.crontab import latest_time, parse_crontab

    return latest_time(parse_crontab(settings.probes.cron), time.time())


def run_on_schedule(prober: Prober, settings: Settings, stack: contextlib.ExitStack) -> None:
    """Run at the times of the schedule, in a thread, until the stack is closed."""
    from driftgauge.agent.service.schedule import Job, Schedule, trigger

    times = trigger(cron=settings.probes.cron)
    assert times is not None  # noqa: S101 - the setting is a crontab line
    job = Job("probes", lambda: prober.run(newest_time(settings)), times)
    stack.callback(Schedule([job]).close)
