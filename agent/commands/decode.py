"""``driftgauge decode``: what the agent understands of captured payloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from driftgauge.agent.commands.options import FilesArgument, JsonOption
from driftgauge.agent.commands.terminal import EXIT_FAILED, console, write_json


def decode(
    files: FilesArgument,
    format_name: Annotated[
        str, typer.Option("--format", help="A wire format; auto: recognise it by the keys of the payload.")
    ] = "auto",
    out: JsonOption = None,
) -> None:
    """Show what the agent understands of captured payloads (JSON, JSON lines, server-sent events), and what it rejects.

    The exit code is 1 when the agent rejects anything in the files.
    """
    from driftgauge.connectors.decoding.formats.payload import PayloadError
    from driftgauge.connectors.decoding.inspection import decode_files

    try:
        found = decode_files(files, format_name)
    except PayloadError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from error
    print_files(found)
    write_json(out, found)
    if any(file["rejected"] for file in found):
        raise typer.Exit(EXIT_FAILED)


def print_files(files: Sequence[dict[str, Any]]) -> None:
    """Print what each file holds: its format, its choices, and what was rejected."""

    def print_styled(line: str, style: str = "") -> None:
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    for file in files:
        print_styled(f"{file['file']}: {file['format'] or 'of no known format'}", "bold")
        for choice in file["choices"]:
            print_styled("\n".join(_lines(choice)))
        if file["labels"]:
            print_styled(f"  {file['labels']} label{'s' if file['labels'] > 1 else ''}")
        for rejected in file["rejected"]:
            times = f" ({rejected['count']} times)" if rejected["count"] > 1 else ""
            print_styled(f"  rejected: {rejected['reason']}: {rejected['detail']}{times}", "red")


def _lines(choice: dict[str, Any]) -> Iterator[str]:
    from driftgauge.models.names import shown

    names = map(shown, filter(None, (choice["id"], choice["model"], choice["finish_reason"])))
    domain = f"domain {shown(choice['domain'])}" + ("" if choice["domain_found"] else " (none found)")
    yield "  " + "  ".join((*names, domain))
    if choice["slices"]:
        yield "    " + ", ".join(f"slice {shown(name)} {shown(value)}" for name, value in choice["slices"].items())
    if choice["aliases"]:
        yield "    also known as " + ", ".join(map(shown, choice["aliases"]))
    if choice["n_tokens"]:
        numbers = ("mean_chosen_logprob", "mean_entropy", "mean_tail_mass", "coverage")
        known = (f"{name.replace('_', ' ')} {choice[name]:.4g}" for name in numbers if choice[name] is not None)
        counts = (f"{choice[name]} {name[2:]}" for name in ("n_logprobs", "n_censored", "n_missing"))
        yield "    " + ", ".join((*counts, f"k {choice['k']['min']} to {choice['k']['max']}", *known))
    segments = {f"{name} tokens": n for name, n in choice["segments"].items() if name != "unknown"}
    if notes := {**segments, **choice["problems"]}:
        yield "    " + ", ".join(f"{name} {n}" for name, n in notes.items())
