"""``driftgauge labels``: labels of other tools become label events, on the topic of labels or in a file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands import labels_back
from driftgauge.agent.commands.label_output import KAFKA, ToOption, destination, summary_lines
from driftgauge.agent.commands.options import ConfigOption, JsonOption, SetOption, refuse_to_overwrite, settings_from
from driftgauge.agent.commands.produce import BATCH
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line, progress, write_json

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings
    from driftgauge.connectors.labels.mapping import LabelMapping
    from driftgauge.connectors.labels.summary import ImportSummary
    from driftgauge.models.events import Label

MAPPING = "mapping"

app = typer.Typer(no_args_is_help=True)


@app.callback()
def labels() -> None:
    """Labels from annotation tools, evaluations and feedback."""


@app.command("import")
def import_labels(
    sources: Annotated[list[str], typer.Argument(help="Files (JSON, JSON lines, CSV, Parquet) or web addresses.")],
    preset: Annotated[
        str, typer.Option("--from", help="The tool they come from, or `mapping`: the setting labels.mapping.")
    ],
    to: ToOption = KAFKA,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="Question or score that is a label; may be repeated.")
    ] = None,
    token_from: Annotated[
        str, typer.Option("--token-from", help="Environment variable with the token for a web address.")
    ] = "",
    time: Annotated[str, typer.Option(help="Time of labels that have none of their own, RFC 3339.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count only; publish and write nothing.")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Turn the labels of a tool into label events. To import them again changes nothing: their ids are the same.

    The end says how many labels there were, how many records gave none and why, and how far annotators agree. The exit
    code is 1 when there was no label.
    """
    from driftgauge.agent.service import build_decoding
    from driftgauge.connectors.decoding.formats.payload import moment_of
    from driftgauge.connectors.labels.presets import PRESETS

    settings = settings_from(config, overrides)
    if preset != MAPPING and preset not in PRESETS:
        raise typer.BadParameter(f"must be {MAPPING} or one of {', '.join(PRESETS)}", param_hint="--from")
    if to != KAFKA:
        refuse_to_overwrite(map(Path, sources), Path(to))
    token = os.environ.get(token_from, "").strip() if token_from else ""
    if token_from and not token:
        raise typer.BadParameter("no such environment variable is set", param_hint="--token-from")
    mapping = build_decoding.label_mapping(settings) if preset == MAPPING else PRESETS[preset]
    if names:
        mapping = replace(mapping, names=tuple(names))
    if time:
        if moment_of(time) is None:
            raise typer.BadParameter("must be a time such as 2026-01-26T09:00:00Z", param_hint="--time")
        mapping = replace(mapping, defaults={**mapping.defaults, "event_time": time})
    tool = settings.labels.mapping.preset if preset == MAPPING else preset
    with progress("labels") as advance, destination(None if dry_run else to, settings) as publish:
        summary = run_import(sources, mapping, settings, publish, tool=tool, token=token, advance=advance)
    for line in summary_lines(summary):
        print_line(line)
    if not dry_run:
        print_line(f"-> {settings.kafka.topics.labels[0] if to == KAFKA else to}")
    write_json(out, summary.to_json())
    if not summary.labels + summary.withdrawals:
        raise typer.Exit(EXIT_FAILED)


app.command("sync")(labels_back.sync)
app.command("listen")(labels_back.listen)


def run_import(
    sources: Sequence[str],
    mapping: LabelMapping,
    settings: Settings,
    publish: Callable[[Sequence[Label]], None],
    *,
    tool: str = "",
    token: str = "",
    advance: Callable[[int], object] = lambda _: None,
) -> ImportSummary:
    """Read sources one after another and publish their labels in batches; return what became of the records."""
    from driftgauge.connectors.batches import batched
    from driftgauge.connectors.decoding.label_scale import LabelScale
    from driftgauge.connectors.labels.mapping import Refusal
    from driftgauge.connectors.labels.reading import read_documents
    from driftgauge.connectors.labels.summary import ImportSummary

    summary, scale = ImportSummary(), LabelScale(settings.labels.scale)

    def found() -> Iterator[Label]:
        for place, content in itertools.chain.from_iterable(read_documents(source, tool, token) for source in sources):
            read = [content] if isinstance(content, Refusal) else mapping.read(content, scale)
            summary.add(place, read)
            yield from (one for one in read if not isinstance(one, Refusal))

    for batch in batched(found(), BATCH):
        publish(batch)
        advance(len(batch))
    return summary
