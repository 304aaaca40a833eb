"""``driftgauge gateway``: a proxy before a model server that publishes generation events."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import typer

from driftgauge.agent.commands import gateway_check, terminal
from driftgauge.agent.commands.options import ConfigOption, SetOption, needs_aiohttp, settings_from
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from driftgauge.config.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 0.25
RESTART_PAUSE_S = 1.0
EXIT_CANNOT_START = 2  # of a worker; an unexpected error ends it with 1

app = typer.Typer(help="A proxy before a model server that makes events of its answers.", invoke_without_command=True)


app.command("check")(gateway_check.check)


@app.callback()
def gateway(context: typer.Context, config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Run the gateway before the model server of gateway.upstream until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    with stopped_by_signals() as stopping:  # before the imports below, which take a second
        settings = settings_from(config, overrides)
        _start_logging(settings)
        with needs_aiohttp("the gateway needs"):
            import driftgauge.agent.gateway.worker  # noqa: F401
        if settings.gateway.workers > 1:
            _run_workers(settings, stopping)
        else:
            _run_worker(settings, stopping, 0)


def _start_logging(settings: Settings) -> None:
    from driftgauge.agent.service.logs import start_logging

    start_logging(settings.logging.level, json_lines=settings.logging.json_lines)


def _run_worker(settings: Settings, stopping: threading.Event, number: int) -> None:
    from driftgauge.agent.gateway.worker import run_worker

    run_worker(settings, stopping, number=number)


def _run_workers(settings: Settings, stopping: threading.Event) -> None:
    """Run processes that share the port until the command is stopped; one that ends by itself is started again.

    When a worker cannot start at all, the command ends.
    """
    import multiprocessing

    from driftgauge.agent.gateway.worker import bound_socket

    spawning = multiprocessing.get_context("spawn")
    with bound_socket(settings.gateway) as reserved:  # a port of 0 becomes one that all workers share
        port = reserved.getsockname()[1]
        settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"port": port})})

        def started(number: int) -> BaseProcess:
            process = spawning.Process(target=_work, args=(settings, number, os.getpid()), name=f"gateway-{number}")
            process.start()
            return process

        first = [started(number) for number in range(settings.gateway.workers)]
        workers = [*first]
        can_start = True
        while can_start and not stopping.wait(POLL_S):
            for number, worker in enumerate(workers):
                if worker.is_alive():
                    continue
                if worker in first and worker.exitcode == EXIT_CANNOT_START:
                    can_start = False  # a setting is wrong: to try again would change nothing
                    break
                log.error("worker %s ended by itself with exit code %s; starting it again", number, worker.exitcode)
                if stopping.wait(RESTART_PAUSE_S):
                    break
                workers[number] = started(number)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
    if not can_start:
        sys.exit(terminal.EXIT_FAILED)


def _work(settings: Settings, number: int, parent: int) -> None:
    """A separate process with one worker; it ends with its parent."""
    from driftgauge.connectors.base import ConnectorError

    with stopped_by_signals() as stopping:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
        _start_logging(settings)
        threading.Thread(target=_follow, args=(parent, stopping), daemon=True).start()
        try:
            _run_worker(settings, stopping, number)
        except ConnectorError as error:
            terminal.exit_with(str(error), EXIT_CANNOT_START)


def _follow(parent: int, stopping: threading.Event) -> None:
    while os.getppid() == parent:
        if stopping.wait(1.0):
            return
    stopping.set()
