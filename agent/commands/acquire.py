"""``driftgauge acquire``: the responses that should be labelled go to an annotation tool, a file or a topic."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    SetOption,
    StoreOption,
    in_a_folder,
    settings_from,
    store_url_in,
)
from driftgauge.agent.commands.terminal import print_line


def acquire(
    to: Annotated[
        Literal["label-studio", "argilla", "csv", "jsonl", "topic"],
        typer.Option(help="An annotation tool of the settings, a file (--out), or the topic annotation.topic."),
    ],
    budget: Annotated[
        int | None, typer.Option(min=1, help="Number of responses, over all lists. Default: all of them.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Also lists of periods that ended after this time, RFC 3339. Default: the newest only.")
    ] = "",
    text: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File with response_id, prompt and response of the responses."),
    ] = None,
    out: Annotated[Path | None, typer.Option(callback=in_a_folder, help="File for csv and jsonl.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the project or dataset where there is none.")] = False,
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Deliver the label lists that the agent made. To deliver them again changes nothing.

    A budget takes the first response of every list, then every second one, and so on; each row says how likely its
    response was to be among them.
    """
    from driftgauge.agent.annotation import acquiring, build
    from driftgauge.connectors.annotation.rows import write_tasks
    from driftgauge.connectors.annotation.tasks import tasks_of
    from driftgauge.connectors.decoding.formats.payload import moment_of
    from driftgauge.connectors.store.queries import open_queries

    if (out is None) == (to in ("csv", "jsonl")):
        raise typer.BadParameter("goes with --to csv or jsonl, and those need it", param_hint="--out")
    after = moment_of(since) if since else None
    if since and after is None:
        raise typer.BadParameter("must be a time such as 2026-01-26T09:00:00Z", param_hint="--since")
    settings = settings_from(config, overrides)
    with closing(open_queries(store_url_in(settings, store))) as queries:
        lists = acquiring.open_lists(queries, after)
        if not lists:
            print_line("no label list yet: the agent makes the first one when a period ends (acquisition.period_s)")
        tool = build.tool(settings, to, create=create) if to in build.TOOLS else None
        requests = acquiring.requests_of(lists, budget, tool)
        tasks = tasks_of(requests, acquiring.texts_of(requests, queries, text))
    if unreadable := sum(not task.can_be_read for task in tasks):
        print_line(f"{unreadable} of {len(tasks)} responses have neither text nor link: pass --text")
    if tool is not None:
        delivery = tool.deliver(tasks)
        print_line(f"{delivery.created} new, {delivery.updated} with another probability, {delivery.known} known")
    elif to == "csv" or to == "jsonl":
        write_tasks(Path(out or ""), tasks, to)
        print_line(f"{len(tasks)} responses -> {out}")
    else:
        acquiring.publish(settings, tasks)
        print_line(f"{len(tasks)} responses -> {settings.annotation.topic}")
