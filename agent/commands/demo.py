"""``driftgauge demo``: the agent on the recorded traffic that comes with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import SeedOption
from driftgauge.agent.commands.serve import served
from driftgauge.agent.commands.terminal import console, print_line
from driftgauge.agent.service.stopping import stopped_by_signals


def demo(
    kafka: Annotated[bool, typer.Option("--kafka", help="Run three processes over a real Apache Kafka.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask a small language model; make demo-live installs it.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Open the dashboard too, and keep it open until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of --serve; 0: any free one.")] = 0,
    folder: Annotated[Path, typer.Option(help="Folder for the store, the report and the results.")] = Path("out/demo"),
    seed: SeedOption = 0,
) -> None:
    """Watch accuracy being estimated on recorded traffic: few labels, no labels, then drift."""
    from driftgauge.agent.demo.embedded import run_embedded
    from driftgauge.agent.demo.on_kafka import run_on_kafka

    if kafka and live:
        raise typer.BadParameter("choose --kafka or --live")
    run = run_on_kafka if kafka else run_embedded
    if live:
        from driftgauge.agent.demo.live import run_live

        run = run_live
    if serve:
        _run_and_serve(run, folder, port, seed)
    else:
        run(folder, console, seed=seed)


def _run_and_serve(run: Callable[..., None], folder: Path, port: int, seed: int) -> None:
    """Run the demo beside its dashboard, which stays open."""
    from driftgauge.agent.demo.embedded import settings_in

    settings = settings_in(folder, **{"server.port": port})
    with served(settings) as address:
        print_line(f"Dashboard: {address} (the API is described at {address}/openapi.json)")
        run(folder, console, seed=seed)
        with stopped_by_signals() as stopping:
            print_line(f"The dashboard stays open at {address} until Ctrl-C.")
            stopping.wait()
