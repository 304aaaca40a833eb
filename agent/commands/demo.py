"""``driftgauge demo``: the agent on the recorded traffic that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import SeedOption
from driftgauge.agent.commands.terminal import console


def demo(
    kafka: Annotated[bool, typer.Option("--kafka", help="Run three processes over a real Apache Kafka.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask a small language model; make demo-live installs it.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder for the store, the report and the results.")] = Path("out/demo"),
    seed: SeedOption = 0,
) -> None:
    """Watch accuracy being estimated on recorded traffic: few labels, no labels, then drift."""
    from driftgauge.agent.demo.embedded import run_embedded
    from driftgauge.agent.demo.on_kafka import run_on_kafka

    if kafka and live:
        raise typer.BadParameter("choose --kafka or --live")
    if live:
        from driftgauge.agent.demo.live import run_live

        run_live(folder, console, seed=seed)
    else:
        (run_on_kafka if kafka else run_embedded)(folder, console, seed=seed)
