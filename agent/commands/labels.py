"""``driftgauge labels``: labels of other tools become label events, on the topic of labels or in a file."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, JsonOption, SetOption, settings_from
from driftgauge.agent.commands.produce import BATCH, message_of
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line, progress, write_json

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings
    from driftgauge.connectors.labels.mapping import LabelMapping
    from driftgauge.connectors.labels.summary import ImportSummary
    from driftgauge.models.agreement import Agreement
    from driftgauge.models.events import Label

KAFKA, MAPPING = "kafka", "mapping"
SHOWN_ANNOTATORS = 20

app = typer.Typer(no_args_is_help=True)


@app.callback()  # makes a group of a single command
def labels() -> None:
    """Labels from annotation tools, evaluations and feedback."""


@app.command("import")
def import_labels(
    sources: Annotated[list[str], typer.Argument(help="Files (JSON, JSON lines, CSV, Parquet) or web addresses.")],
    preset: Annotated[
        str, typer.Option("--from", help="The tool they come from, or `mapping`: the setting labels.mapping.")
    ],
    to: Annotated[str, typer.Option(help="`kafka`, the topic of labels, or a file to write: JSON lines.")] = KAFKA,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="Question or score that is a label; may be repeated.")
    ] = None,
    token_from: Annotated[
        str, typer.Option("--token-from", help="Environment variable with the token for a web address.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count only; publish and write nothing.")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Turn the labels of a tool into label events. To import them again changes nothing: their ids are the same.

    The end says how many labels there were, how many records gave none and why, and how far annotators agree. The exit
    code is 1 when there was no label.
    """
    from driftgauge.agent.service import build
    from driftgauge.connectors.labels.presets import PRESETS

    settings = settings_from(config, overrides)
    if preset != MAPPING and preset not in PRESETS:
        raise typer.BadParameter(f"must be {MAPPING} or one of {', '.join(PRESETS)}", param_hint="--from")
    if token_from and not os.environ.get(token_from):
        raise typer.BadParameter("no such environment variable is set", param_hint="--token-from")
    mapping = build.label_mapping(settings) if preset == MAPPING else PRESETS[preset]
    if names:
        mapping = replace(mapping, names=tuple(names))
    tool = settings.labels.mapping.preset if preset == MAPPING else preset
    token = os.environ.get(token_from, "") if token_from else ""
    with progress("labels") as advance, destination(None if dry_run else to, settings) as publish:
        summary = run_import(sources, mapping, settings, publish, tool=tool, token=token, advance=advance)
    for line in summary_lines(summary):
        print_line(line)
    if not dry_run:
        print_line(f"-> {settings.kafka.topics.labels[0] if to == KAFKA else to}")
    write_json(out, summary.to_json())
    if not summary.labels + summary.withdrawals:
        raise typer.Exit(EXIT_FAILED)


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

    labels = found()
    while batch := list(itertools.islice(labels, BATCH)):
        publish(batch)
        advance(len(batch))
    return summary


@contextlib.contextmanager
def destination(to: str | None, settings: Settings) -> Iterator[Callable[[Sequence[Label]], None]]:
    """A function that publishes labels; None is nowhere."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.decoding.formats.own import encode_label
    from driftgauge.connectors.kafka.sink import KafkaSink

    if to is None:
        yield lambda batch: None  # noqa: ARG005 - a dry run
    elif to == KAFKA:
        if not settings.kafka.topics.labels:
            raise typer.BadParameter("the setting kafka.topics.labels names no topic", param_hint="--to")
        with contextlib.closing(KafkaSink(build.connection(settings))) as sink:
            yield lambda batch: sink.publish([message_of(label, settings) for label in batch])
    else:
        with Path(to).open("wb") as file:
            yield lambda batch: file.writelines(encode_label(label, "json") + b"\n" for label in batch)


def summary_lines(summary: ImportSummary) -> Iterable[str]:
    """The summary for people."""
    from driftgauge.models.names import shown

    yield f"{summary.records} records: {summary.labels} labels, {summary.withdrawals} withdrawals"
    for reason, n in summary.refused.most_common():
        yield f"without a label: {n} {reason}"
        yield from (f"  {example}" for example in summary.examples[reason])
    for annotator, n in summary.annotators.most_common(SHOWN_ANNOTATORS):
        yield f"annotator {shown(annotator)}: {n} labels"
    if (n_more := len(summary.annotators) - SHOWN_ANNOTATORS) > 0:
        yield f"and {n_more} more annotators"
    if line := agreement_line(summary.agreement()):
        yield line
    if summary.without_agreement:
        yield f"{summary.without_agreement} labels take no part in the agreement: there are too many"


def agreement_line(found: Agreement) -> str:
    """How far annotators agree; "" where no response has labels of two of them."""
    if found.share is None:
        return ""
    kappa = "not defined, because all labels are alike" if found.kappa is None else f"{found.kappa:.2f}"
    return f"agreement: {found.share:.0%} of {found.n_pairs} pairs on {found.n_responses} responses, kappa {kappa}"
