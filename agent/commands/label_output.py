"""Where commands put the labels of other tools, and what they print about them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.produce import message_of

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings
    from driftgauge.connectors.labels.summary import ImportSummary
    from driftgauge.models.agreement import Agreement
    from driftgauge.models.events import Label

KAFKA = "kafka"
SHOWN_ANNOTATORS = 20

ToOption = Annotated[str, typer.Option(help="`kafka`, the topic of labels, or a file to write: JSON lines.")]


@contextlib.contextmanager
def destination(to: str | None, settings: Settings) -> Iterator[Callable[[Sequence[Label]], None]]:
    """A function that publishes labels: to Kafka, or to a file, which is there when all are; None is nowhere."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.decoding.formats.own import encode_label
    from driftgauge.connectors.files.whole_file import whole_file
    from driftgauge.connectors.kafka.sink import KafkaSink

    if to is None:
        yield lambda batch: None  # noqa: ARG005 - a dry run
    elif to == KAFKA:
        if not settings.kafka.topics.labels:
            raise typer.BadParameter("the setting kafka.topics.labels names no topic", param_hint="--to")
        with contextlib.closing(KafkaSink(build.connection(settings))) as sink:
            yield lambda batch: sink.publish([message_of(label, settings) for label in batch])
    else:
        with whole_file(Path(to)) as file:
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
