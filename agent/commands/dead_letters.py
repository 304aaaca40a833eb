"""What ``driftgauge dead-letters`` does: show records that could not be used, and send them again.

A retry publishes the original bytes and headers to the topic they came from, so that they take the same way as
everything else. What was sent again leaves the store; if it still cannot be used, it comes back as a new dead letter.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from driftgauge.agent.outlets.live_table import shown
from driftgauge.agent.service import build
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Message
from driftgauge.connectors.kafka.client import KafkaSink
from driftgauge.connectors.store.dead_letters import DeadLetter, find_dead_letters, forget_dead_letters
from driftgauge.models.events import Rejected

BATCH = 500


@dataclass(frozen=True, slots=True)
class Retried:
    """How many dead letters were sent again, and how many could not be: their bytes or their topic are unknown."""

    n_sent: int
    n_left: int


def as_table(letters: Iterable[DeadLetter]) -> Table:
    """One line for each; names come from outside, so what could steer a terminal is taken out."""
    table = Table("number", "reason", "position", "bytes", "detail")
    for letter in letters:
        rejected = letter.rejected
        size = "" if rejected.value is None else str(len(rejected.value))
        table.add_row(
            str(letter.seq), rejected.reason, shown(_position(rejected), 60), size, shown(rejected.detail, 80)
        )
    return table


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """Everything about one, its bytes in base64."""
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
    """Publish dead letters to the topics they came from, and remove from the store what was acknowledged."""
    letters = find_dead_letters(url, reason=reason, limit=limit)
    sendable = [(letter.seq, message) for letter in letters if (message := _message(letter, settings))]
    with closing(KafkaSink(build.connection(settings))) as sink:
        for part in _parts(sendable):
            sink.publish([message for _, message in part])
            forget_dead_letters(url, [seq for seq, _ in part])
    return Retried(len(sendable), len(letters) - len(sendable))


def _message(letter: DeadLetter, settings: Settings) -> Message | None:
    """The record as it came; None where its bytes were not kept, or this agent does not read its topic."""
    rejected = letter.rejected
    topic = rejected.topic or _topic_of_event(rejected, settings)
    if rejected.value is None or topic not in build.topics_read(settings):
        return None
    return Message(letter.seq, topic, rejected.key or b"", rejected.value, rejected.headers)


def _topic_of_event(rejected: Rejected, settings: Settings) -> str:
    """Where an event that the agent gave up later goes: its record is gone, its content is not."""
    topics = settings.kafka.topics
    is_label = "label" in rejected.reason
    return topics.labels[0] if is_label and topics.labels else topics.generations[0]


def _parts(messages: list[tuple[int, Message]]) -> Iterator[tuple[tuple[int, Message], ...]]:
    waiting = iter(messages)
    while part := tuple(itertools.islice(waiting, BATCH)):
        yield part


def _position(rejected: Rejected) -> str:
    return f"{rejected.topic}/{rejected.partition}/{rejected.offset}" if rejected.topic else ""


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
