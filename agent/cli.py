"""The command ``driftgauge``: gives every command of `driftgauge.agent.commands` its name.

Exit codes: 0 done; 1 failed (a connection, a file with wrong content, rejected input, a package that is missing); 2
wrong usage or settings; 3 a condition of ``report --fail-on`` holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import typer

from driftgauge.agent.commands import (
    acquire,
    backup,
    check_config,
    dead_letters,
    decode,
    deliver,
    demo,
    evaluate,
    extract,
    features,
    fit,
    gateway,
    judge,
    labels,
    probe,
    produce,
    replay,
    report,
    run,
    serve,
    silence,
    spark,
    terminal,
    threshold,
    version,
    versions,
    watch,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "version": version.version,
    "run": run.run,
    "extract": extract.extract,
    "serve": serve.serve,
    "token": serve.token,
    "demo": demo.demo,
    "replay": replay.replay,
    "produce": produce.produce,
    "probe": probe.probe,
    "judge": judge.judge,
    "deliver": deliver.deliver,
    "watch": watch.watch,
    "features": features.features,
    "decode": decode.decode,
    "fit": fit.fit,
    "curves": evaluate.curves,
    "versions": versions.versions,
    "rollback": versions.rollback,
    "report": report.report,
    "acquire": acquire.acquire,
    "threshold": threshold.threshold,
    "evaluate": evaluate.evaluate,
    "backup": backup.backup,
    "check-config": check_config.check_config,
}
"""Command by name, in the order of ``driftgauge --help``."""

app = typer.Typer(
    name="driftgauge",
    help="How often is a deployed LLM right, in each domain it serves? Estimated from output entropy and a few late "
    "labels, with drift alerts, what to label and what to get data for. To see it work: driftgauge demo",
    epilog="Exit codes: 0 done; 1 failed (a connection, a file with wrong content, rejected input, a package that is "
    "missing); 2 wrong usage or settings; 3 a condition of report --fail-on holds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
GROUPS: dict[str, typer.Typer] = {
    "dead-letters": dead_letters.app,
    "labels": labels.app,
    "silence": silence.app,
    "gateway": gateway.app,
    "spark": spark.app,
}
"""Commands with commands of their own, in the order of ``driftgauge --help``."""


def help_of(command: Callable[..., object]) -> str:
    """The docstring of a command with each paragraph on one line: Typer would keep the line breaks of the source."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for name, command in COMMANDS.items():
    app.command(name)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
for given in (app, *GROUPS.values()):
    for registered in given.registered_commands:
        if registered.callback:
            registered.help = help_of(registered.callback)


def main() -> None:
    """Run the command line. An expected error ends it with one clear message and an exit code."""
    terminal.replace_what_cannot_be_shown()
    try:
        app()
    except Exception as error:
        terminal.exit_on(error)


if __name__ == "__main__":
    main()
