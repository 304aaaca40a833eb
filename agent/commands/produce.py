"""``driftgauge produce``: recorded traffic to the topics that the agent reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftgauge.agent.commands.options import ConfigOption, FilesArgument, SeedOption, SetOption, settings_from
from driftgauge.agent.commands.terminal import print_line, progress

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings
    from driftgauge.connectors.base import Message
    from driftgauge.connectors.files.traffic import LabelPlan
    from driftgauge.models.events import Generation, Label

BATCH = 500
"""Events published at once."""

_HEADERS = (("content-type", b"application/msgpack"),)


def produce(
    files: FilesArgument,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish recorded traffic (.npz) to the topics that the agent reads, with the labels of the demo."""
    from driftgauge.agent.demo.embedded import PLAN

    settings = settings_from(config, overrides)
    if not settings.kafka.topics.labels:
        raise typer.BadParameter("the setting kafka.topics.labels names no topic", param_hint="--set")
    with progress("producing") as advance:
        count = publish_recordings(files, PLAN, settings, seed=seed, advance=advance)
    print_line(f"{count} events published")


def publish_recordings(
    paths: Sequence[Path],
    plan: LabelPlan,
    settings: Settings,
    *,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> int:
    """Publish the responses and labels of recordings; return how many events there were.

    ``advance`` is called after each batch with the number of its events.
    """
    from driftgauge.agent.service import build
    from driftgauge.connectors.batches import batched
    from driftgauge.connectors.files.recordings import read_recording
    from driftgauge.connectors.files.traffic import Traffic
    from driftgauge.connectors.kafka.sink import KafkaSink

    traffic = Traffic([read_recording(path) for path in paths], plan, seed=seed)
    with closing(KafkaSink(build.connection(settings))) as sink:
        for batch in batched(traffic.events(), BATCH):
            sink.publish([message_of(event, settings) for event in batch])
            advance(len(batch))
    return len(traffic)


def message_of(event: Generation | Label, settings: Settings) -> Message:
    """The message of an event, to the first topic of its kind."""
    from driftgauge.connectors.base import Message
    from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
    from driftgauge.models.events import Label

    topics = settings.kafka.topics
    if isinstance(event, Label):
        return Message(0, topics.labels[0], event.response_id.encode(), encode_label(event), _HEADERS)
    return Message(0, settings.events_topic, event.id.encode(), encode_generation(event), _HEADERS)
