"""``driftgauge watch``: the estimates that the agent publishes, one on each line."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from
from driftgauge.agent.commands.terminal import print_line
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings


def watch(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Print estimates as the agent publishes them, until SIGTERM or Ctrl-C."""
    with stopped_by_signals() as stopping:  # before the imports below, which take a second
        print_estimates(settings_from(config, overrides), stopping)


def print_estimates(settings: Settings, stopping: threading.Event) -> None:
    """Print estimates as they are published. Once ``stopping`` is set, print those that are there already, and end."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.kafka.source import KafkaSource

    source = KafkaSource(build.connection(settings), (settings.kafka.topics.estimates,), group_id="driftgauge-watch")
    with closing(source):
        source.open({})
        while (records := source.poll(1.0)) or not stopping.is_set():
            for record in records:
                place = f"{record.topic}/{record.partition}/{record.offset}"
                print_line(_line(record.value) or f"{place} is no estimate")


def _line(value: bytes | None) -> str:
    """One estimate on one line; "" of any other record. Names come from events, so control characters are replaced."""
    try:
        return _text(json.loads(value or b""))
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _text(estimate: dict[str, Any]) -> str:
    from driftgauge.agent.outlets.live_table import printable

    start = f"{printable(str(estimate['window_end']))}  {printable(str(estimate['domain'])):10}"
    if estimate["accuracy"] is None:
        return f"{start}  {printable(str(estimate['status_reason']), 80)}"
    low, high = estimate["ci_low"], estimate["ci_high"]
    counts = f"{estimate['n_events']} events, {estimate['n_labels']} labels"
    revised = f", revision {estimate['revision']}" if estimate["revision"] > 1 else ""
    return f"{start}  {estimate['accuracy']:.2f} [{low:.2f}, {high:.2f}]  {counts}{revised}"
