"""``driftgauge replay``: recorded traffic, or the past of Kafka topics, through the whole agent."""

from __future__ import annotations

from typing import Annotated

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    JsonOption,
    OptionalFilesArgument,
    SeedOption,
    SetOption,
    settings_from,
    store_url,
)
from driftgauge.agent.commands.terminal import EXIT_FAILED, console, write_json


def replay(
    files: OptionalFilesArgument = None,
    since: Annotated[str, typer.Option("--from", help="Without files: replay the Kafka topics from this time.")] = "",
    until: Annotated[
        str, typer.Option("--to", help="End before this time. --from and --to also take offsets: TOPIC/0:17.")
    ] = "",
    label_delay: Annotated[int, typer.Option(min=0, help="Responses between a response and its label.")] = 200,
    label_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of responses that get a label.")] = 0.1,
    labels_per_domain: Annotated[
        int | None, typer.Option(min=0, help="Number of labels in every domain, instead of --label-fraction.")
    ] = None,
    no_labels: Annotated[str, typer.Option(help="Domains without labels, separated by commas.")] = "",
    seed: SeedOption = 0,
    store: Annotated[str, typer.Option(help="Store URL or path of an SQLite file. Default: keep nothing.")] = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Replay recorded traffic or the past of Kafka topics through the agent, and print the estimates.

    Recordings (.npz) get labels by the options. Files of payloads or events bring their own labels: JSON on a line
    each, over several lines or in an array, or server-sent events; also .gz or .zst. Topics are read in the order of
    time, without --to up to now. The live agent and its store are not touched.
    The end says how many records could not be used, and why. The exit code is 1 when none could be used.
    """
    from driftgauge.agent.service.replay import replay_files, replay_topics
    from driftgauge.agent.service.times import read_bound
    from driftgauge.connectors.files.traffic import LabelPlan

    without = frozenset(name for name in no_labels.split(",") if name)
    plan = LabelPlan(label_delay, label_fraction, per_domain=labels_per_domain, without=without)
    settings, url = settings_from(config, overrides), store_url(store)
    if files and (since or until):
        raise typer.BadParameter("--from and --to select a part of Kafka topics; files are always replayed whole")
    if files:
        result = replay_files(files, plan, settings, console, seed=seed, store_url=url)
    elif since or until:
        result = replay_topics(read_bound(since), read_bound(until), settings, console, store_url=url)
    else:
        raise typer.BadParameter("name files to replay, or a part of the Kafka topics with --from or --to")
    write_json(out, result)
    if not result["account"]["used"]:
        raise typer.Exit(EXIT_FAILED)
