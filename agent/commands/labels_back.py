"""``driftgauge labels listen`` and ``sync``: labels of annotation tools come back by webhooks and by polling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.label_output import KAFKA, ToOption, destination, summary_lines
from driftgauge.agent.commands.options import (
    ConfigOption,
    JsonOption,
    SetOption,
    StoreOption,
    needs_aiohttp,
    settings_from,
    store_url_in,
)
from driftgauge.agent.commands.terminal import print_line, write_json
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.connectors.store.queries import StoreQueries

WithoutStoreOption = Annotated[
    bool,
    typer.Option("--without-store", help="Ask no store: every label is sent again, and no deleted one withdrawn."),
]


def sync(
    tool: Annotated[str, typer.Option("--from", help="`label-studio` or `argilla`.")],
    to: ToOption = KAFKA,
    store: StoreOption = "",
    without_store: WithoutStoreOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Read all annotations of a tool once, and publish what the agent lacks. To run it again changes nothing.

    New and changed annotations become labels. A label whose annotation was deleted from its task is withdrawn.
    """
    from driftgauge.agent.annotation import build
    from driftgauge.agent.annotation.polling import take_changes

    settings = settings_from(config, overrides)
    check_tool(tool, "--from")
    with _opened(store_url_in(settings, store), without_store) as queries:
        reconciliation = build.reconciliation(settings, build.tool(settings, tool), queries)
        with destination(to, settings) as publish:
            summary = take_changes(reconciliation, publish, now=time.time())
    for line in summary_lines(summary):
        print_line(line)
    write_json(out, summary.to_json())


def listen(
    poll: Annotated[
        float, typer.Option(min=0, help="Seconds between two passes over the annotations of each tool; 0: none.")
    ] = 0.0,
    store: StoreOption = "",
    without_store: WithoutStoreOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Take webhooks of Label Studio and Argilla until SIGTERM or Ctrl-C, and publish their labels.

    Webhooks get lost, so pass --poll too: each pass finds what is new, changed or deleted since the one before.
    """
    with stopped_by_signals() as stopping:  # before the imports below
        from driftgauge.agent.service.logs import start_logging

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        if not settings.kafka.topics.labels:
            raise typer.BadParameter("the setting kafka.topics.labels names no topic", param_hint="--config")
        with needs_aiohttp("webhooks need"):
            from driftgauge.agent.annotation.listening import listen as listen_until
        with _opened(store_url_in(settings, store), without_store or not poll) as queries:
            listen_until(settings, stopping, poll_s=poll, queries=queries)


def check_tool(name: str, option: str) -> None:
    """Raise an error unless there is an annotation tool of this name."""
    from driftgauge.agent.annotation.build import TOOLS

    if name not in TOOLS:
        raise typer.BadParameter(f"must be {' or '.join(TOOLS)}", param_hint=option)


@contextmanager
def _opened(url: str, without_store: bool) -> Iterator[StoreQueries | None]:
    from driftgauge.connectors.store.queries import open_queries

    if without_store:
        yield None
    else:
        with closing(open_queries(url)) as queries:
            yield queries
