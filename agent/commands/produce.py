"""What ``driftgauge produce`` and ``driftgauge watch`` do: recorded events to topics, estimates from one."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from driftgauge.agent.outlets.live_table import shown
from driftgauge.agent.service import build
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Message
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.traffic import LabelPlan, Traffic
from driftgauge.connectors.kafka.client import KafkaSink, KafkaSource
from driftgauge.models.events import Generation, Label

BATCH = 500
_HEADERS = (("content-type", b"application/msgpack"),)


def produce(
    paths: Sequence[Path],
    plan: LabelPlan,
    settings: Settings,
    *,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> int:
    """Publish the responses and labels of recordings to the topics the agent reads; returns how many there were."""
    traffic = Traffic([read_recording(path) for path in paths], plan, seed=seed)
    events = traffic.events()
    with closing(KafkaSink(build.connection(settings))) as sink:
        while batch := list(itertools.islice(events, BATCH)):
            sink.publish([_message(event, settings) for event in batch])
            advance(len(batch))
    return len(traffic)


def _message(event: Generation | Label, settings: Settings) -> Message:
    topics = settings.kafka.topics
    if isinstance(event, Label):
        return Message(0, topics.labels[0], event.response_id.encode(), encode_label(event), _HEADERS)
    return Message(0, topics.generations[0], event.id.encode(), encode_generation(event), _HEADERS)


def watch(settings: Settings, console: Console, stopping: threading.Event) -> None:
    """Print estimates as they are published; once told to stop, only those that are there already."""
    source = KafkaSource(build.connection(settings), (settings.kafka.topics.estimates,), group_id="driftgauge-watch")
    with closing(source):
        source.open({})
        while (records := source.poll(1.0)) or not stopping.is_set():
            for record in records:
                line = _line(json.loads(record.value or b"{}"))
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def _line(estimate: dict[str, Any]) -> str:
    """One estimate on one line; names come from events, so what could steer a terminal is taken out."""
    said = f"{estimate.get('window_end')}  {shown(str(estimate.get('domain'))):10}"
    if estimate.get("accuracy") is None:
        return f"{said}  {shown(str(estimate.get('status_reason')), 80)}"
    low, high = estimate["ci_low"], estimate["ci_high"]
    counts = f"{estimate['n_events']} events, {estimate['n_labels']} labels"
    revised = f", revision {estimate['revision']}" if estimate["revision"] > 1 else ""
    return f"{said}  {estimate['accuracy']:.2f} [{low:.2f}, {high:.2f}]  {counts}{revised}"
