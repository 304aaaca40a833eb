"""``driftgauge dead-letters``: show the records that could not be used, and send them again.

A retry publishes the original bytes and headers to the topic of the record, so that the agent reads them like any other
record. A letter that was sent leaves the store. If the agent still cannot use the record, it becomes a new dead letter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from driftgauge.agent.commands.options import (
    ConfigOption,
    SetOption,
    StoreOption,
    settings_from,
    store_url_in,
    store_url_or_setting,
)
from driftgauge.agent.commands.terminal import console, print_line

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings
    from driftgauge.connectors.base import Message
    from driftgauge.connectors.store.dead_letters import DeadLetter
    from driftgauge.models.events import Rejected

BATCH = 500
"""Records published at once."""

ReasonOption = Annotated[str, typer.Option("--reason", help="Only dead letters with this reason.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many, the newest.")]

app = typer.Typer(help="Show the records that could not be used, and send them again.", no_args_is_help=True)


@app.command("list")
def list_letters(
    store: StoreOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, with the bytes in base64.")
    ] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show dead letters, the newest last."""
    from driftgauge.connectors.store.dead_letters import find_dead_letters

    found = find_dead_letters(store_url_or_setting(store, config, overrides), reason=reason, limit=limit)
    if as_json:
        for letter in found:
            typer.echo(json.dumps(to_json(letter)))
    elif found:
        console.print(to_table(found))
    else:
        print_line("no dead letters" + (f" with the reason {reason}" if reason else ""))


@app.command("retry")
def retry_letters(
    store: StoreOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish dead letters to the topics they came from. A letter that was sent leaves the store."""
    settings = settings_from(config, overrides)
    result = retry(settings, store_url_in(settings, store), reason=reason, limit=limit)
    print_line(f"{result.n_sent} sent again, {result.n_left} left: bytes or topic unknown")


@dataclass(frozen=True, slots=True)
class Retried:
    """How many dead letters were sent again, and how many could not be, because their bytes or topic are unknown."""

    n_sent: int
    n_left: int


def to_table(letters: Iterable[DeadLetter]) -> Table:
    """Show each letter on one line. Names come from outside, so control characters are replaced."""
    from driftgauge.agent.outlets.live_table import printable

    table = Table("number", "reason", "position", "bytes", "detail")
    for letter in letters:
        rejected = letter.rejected
        size = "" if rejected.value is None else str(len(rejected.value))
        position, detail = printable(_position(rejected), 60), printable(rejected.detail, 80)
        table.add_row(str(letter.seq), rejected.reason, position, size, detail)
    return table


def to_json(letter: DeadLetter) -> dict[str, Any]:
    """Everything that is stored of a letter, its bytes in base64."""
    rejected = letter.rejected
    return {
        "number": letter.seq,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "topic": rejected.topic,
        "partition": rejected.partition,
        "offset": rejected.offset,
        "key": _base64(rejected.key),
        "value": _base64(rejected.value),
        "headers": {name: _base64(value) for name, value in rejected.headers},
    }


def retry(settings: Settings, url: str, *, reason: str = "", limit: int | None = None) -> Retried:
    """Publish dead letters to the topics they came from, and remove from the store those that were acknowledged."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.batches import batched
    from driftgauge.connectors.kafka.sink import KafkaSink
    from driftgauge.connectors.store.dead_letters import find_dead_letters, forget_dead_letters

    letters = find_dead_letters(url, reason=reason, limit=limit)
    sendable = [(letter.seq, message) for letter in letters if (message := _message(letter, settings))]
    with closing(KafkaSink(build.connection(settings))) as sink:
        for part in batched(sendable, BATCH):
            sink.publish([message for _, message in part])
            forget_dead_letters(url, [seq for seq, _ in part])
    return Retried(len(sendable), len(letters) - len(sendable))


def _message(letter: DeadLetter, settings: Settings) -> Message | None:
    """The original record; None when its bytes were not kept or this agent does not read its topic."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.base import Message

    rejected = letter.rejected
    topic = rejected.topic or _topic_of_event(rejected, settings)
    if rejected.value is None or topic not in {*build.topics_read(settings), *build.topics_extracted(settings)}:
        return None
    return Message(letter.seq, topic, rejected.key or b"", rejected.value, rejected.headers)


def _topic_of_event(rejected: Rejected, settings: Settings) -> str:
    """The topic for an event that was rejected after it was decoded: its record is gone, but its content is stored."""
    topics = settings.kafka.topics
    is_label = "label" in rejected.reason
    return topics.labels[0] if is_label and topics.labels else settings.events_topic


def _position(rejected: Rejected) -> str:
    return f"{rejected.topic}/{rejected.partition}/{rejected.offset}" if rejected.topic else ""


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
