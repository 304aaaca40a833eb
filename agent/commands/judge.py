"""``driftgauge judge``: a model labels a random part of the responses whose texts are at hand."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.label_output import KAFKA, destination
from driftgauge.agent.commands.options import (
    ConfigOption,
    JsonOption,
    SetOption,
    StoreOption,
    refuse_to_overwrite,
    settings_from,
    store_url_in,
)
from driftgauge.agent.commands.produce import BATCH
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line, write_json
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.agent.labelling.judge import Item

STORE = "store"


def judge(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files (JSON lines, CSV, Parquet) with response_id, prompt and response; or `store`: the texts that "
            "decode.keep_text kept, without prompts."
        ),
    ],
    to: Annotated[str, typer.Option(help="`kafka`, the topic of labels, or a file to write: JSON lines.")] = KAFKA,
    since: Annotated[
        str, typer.Option(help="Only responses of the store from this time on, such as 2026-01-31T00:00:00Z.")
    ] = "",
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Let the judge of the settings label a random part of these responses, within its budget.

    A response is never paid for twice, and to repeat the command changes nothing. The exit code is 1 when the run ended
    early for another reason than its budget.
    """
    with stopped_by_signals() as stopping:
        from driftgauge.agent.labelling import build
        from driftgauge.agent.labelling.judging import Entry, lines, to_json
        from driftgauge.connectors.batches import batched
        from driftgauge.connectors.files.journal import Journal

        if to != KAFKA:
            refuse_to_overwrite(map(Path, sources), Path(to))
        settings = settings_from(config, overrides)
        url = store_url_in(settings, store) if STORE in sources else ""
        build.judge_rules(settings.judge)
        unusable = Counter[str]()
        with Journal(settings.judge.ledger, Entry) as ledger, destination(to, settings) as publish:
            items = texts_of(sources, url, since, unusable)
            run, labels = build.judging(settings.judge, ledger, stopping.wait, time.time).run(items)
            for batch in batched(labels, BATCH):
                publish(batch)
    if unusable:
        print_line("unusable: " + ", ".join(f"{reason} {n}" for reason, n in unusable.most_common()))
    for line in lines(run):
        print_line(line)
    print_line(f"-> {settings.kafka.topics.labels[0] if to == KAFKA else to}")
    write_json(out, {**to_json(run), "unusable": dict(unusable)})
    if run.ended and not run.is_within_budget:
        raise typer.Exit(EXIT_FAILED)


def texts_of(sources: Sequence[str], store_url: str, since: str, unusable: Counter[str]) -> Iterator[Item]:
    """The responses with their texts; documents without them are counted by reason."""
    from driftgauge.agent.labelling.judge import Item
    from driftgauge.agent.labelling.texts import item_in
    from driftgauge.agent.service.times import read_time
    from driftgauge.connectors.labels.reading import read_documents
    from driftgauge.connectors.store.queries import open_queries

    for source in sources:
        if source == STORE:
            with closing(open_queries(store_url)) as queries:
                for name, text in queries.live_texts(read_time(since) if since else 0.0):
                    yield Item(name, "", text)
        else:
            for document in read_documents(source):
                found = item_in(document.content)
                if isinstance(found, str):
                    unusable[found] += 1
                else:
                    yield found
