"""``driftgauge gateway check``: what a model server does when it is asked for log-probabilities, and its cost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands import terminal
from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from

if TYPE_CHECKING:
    from driftgauge.agent.gateway.check import Finding
    from driftgauge.connectors.model_server import ModelServer

WARNING = (
    "This sends some thirty small requests to {address} for the model {model}. Some servers do not survive requests "
    "for log-probabilities: TensorRT-LLM and SGLang with speculative decoding have ended at the first one. Do not run "
    "it against a server that people depend on."
)

ModelOption = Annotated[str, typer.Option("--model", help="Model to try. Default: the first that the server lists.")]
KeyOption = Annotated[
    str, typer.Option("--key-from", help="Environment variable with the API key to send; not the key itself.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before the first request.")]
CostOption = Annotated[bool, typer.Option(help="Also measure what asking costs: 64 more requests, 8 at a time.")]


def check(
    config: ConfigOption = None,
    overrides: SetOption = None,
    model: ModelOption = "",
    key_from: KeyOption = "",
    yes: YesOption = False,
    cost: CostOption = True,
) -> None:
    """Ask the model server for log-probabilities, once for each kind of request, and print what it does."""
    from driftgauge.agent.gateway.check import check_server
    from driftgauge.connectors.model_server import ModelServer

    gateway = settings_from(config, overrides).gateway
    server = ModelServer(
        gateway.upstream,
        api_key=_key(key_from),
        cafile=gateway.upstream_cafile,
        connect_timeout_s=gateway.connect_timeout_s,
    )
    model = model or _first(server.models(), server.address)
    terminal.errors.print(WARNING.format(address=server.address, model=model), markup=False, highlight=False)
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)
    findings: list[Finding] = []
    with terminal.progress("asking") as advance:
        for finding in check_server(server, model, k=gateway.capture.k):
            findings.append(finding)
            advance(1)
    rows = [(found.probe.name, str(found.k), found.verdict, found.detail) for found in findings]
    terminal.print_table([("request", "k", "asking", "what came back"), *rows])
    verdicts = {found.verdict for found in findings}
    if "failed" in verdicts:
        terminal.exit_with("the server failed: do not ask it before the cause is known", terminal.EXIT_FAILED)
    if not verdicts & {"works", "partly"}:
        terminal.exit_with("the server gives no log-probabilities for this model", terminal.EXIT_FAILED)
    if cost:
        _print_cost(server, model, gateway.capture.k)


def _print_cost(server: ModelServer, model: str, k: int) -> None:
    from driftgauge.agent.gateway.check import measured_cost

    measured = measured_cost(server, model, k=k)
    if measured is None:
        terminal.exit_with("the cost cannot be measured: chat answers failed, or have no usage", terminal.EXIT_FAILED)
    terminal.print_line(
        f"tokens per second, 8 requests at a time: {measured.plain:.0f} not asked, {measured.asked:.0f} asked with "
        f"k = {k} ({measured.asked / measured.plain:.2f} x)"
    )


def _first(models: list[str], address: str) -> str:
    if not models:
        terminal.exit_with(f"{address} lists no model: name one with --model", terminal.EXIT_FAILED)
    return models[0]


def _key(variable: str) -> str:
    if variable and not os.environ.get(variable):
        terminal.exit_with(f"the environment variable {variable} of --key-from is not set", terminal.EXIT_WRONG_USAGE)
    return os.environ.get(variable, "").strip() if variable else ""
