"""What ``driftgauge replay`` does: recorded traffic through the whole agent.

Files go in order, one stream after another; Kafka topics are read between two places. Neither touches the live agent:
what is said is not published, and it is remembered in a store of its own. The result holds what was said last, as the
events define it, and beside each estimate the true accuracy of the same window where the files tell it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from driftgauge.agent.outlets.live_table import LiveTable, Row
from driftgauge.agent.outlets.summary import summary
from driftgauge.agent.service import build
from driftgauge.agent.service.loop import Loop, Observer
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, Source, Store, TopicPartition
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.traffic import LabelPlan, RecordingSource, Traffic
from driftgauge.connectors.kafka.history import Bound
from driftgauge.connectors.publishing.payload import payload
from driftgauge.connectors.testing import MemoryStore, NoSink
from driftgauge.models.outputs import Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A source to replay, and the truth about it where the files know it."""

    source: Source
    n_records: int | None = None
    traffic: Traffic | None = None

    def truth(self, estimate: Estimate, window_events: int) -> float | None:
        """The accuracy of the responses that an estimate speaks of, if every truth is known."""
        if self.traffic is None:
            return None
        window = estimate.window_start, estimate.window_end
        return self.traffic.true_accuracy(estimate.domain, *window, last=window_events)


def open_files(paths: Sequence[Path], plan: LabelPlan, seed: int) -> Replay:
    """Files as one source: recordings (``.npz``), for which labels are drawn by the plan, or events as JSON lines."""
    recordings = [path for path in paths if path.suffix == ".npz"]
    if not recordings:
        return Replay(FileSource(paths))
    if len(recordings) < len(paths):
        raise ConnectorError("recordings (.npz) and files of events cannot be mixed in one replay", retriable=False)
    traffic = Traffic([read_recording(path) for path in recordings], plan, seed=seed)
    return Replay(RecordingSource(traffic), len(traffic), traffic)


def replay_files(
    paths: Sequence[Path],
    plan: LabelPlan,
    settings: Settings,
    console: Console,
    *,
    seed: int = 0,
    store_url: str | None = None,
) -> dict[str, Any]:
    """Replay files, show the table while it goes on, say what was found, and return it as the events define it."""
    store = build.store(settings, store_url) if store_url else MemoryStore()
    return _replay(open_files(paths, plan, seed), settings, store, console, store_url)


def replay_topics(
    begin: Bound, end: Bound, settings: Settings, console: Console, *, store_url: str | None = None
) -> dict[str, Any]:
    """Replay what the topics held; see `replay_files`. The store is one that is thrown away, if none is named."""
    if store_url == settings.store.url.get_secret_value():
        raise ConnectorError("that is the store of the live agent; a replay needs one of its own", retriable=False)
    replayed = Replay(build.kafka_history(settings, begin, end))
    with tempfile.TemporaryDirectory(prefix="driftgauge-replay-") as folder:
        store = build.store(settings, store_url or f"sqlite:///{folder}/store.db")
        return _replay(replayed, settings, store, console, store_url)


def _replay(
    replayed: Replay, settings: Settings, store: Store, console: Console, store_url: str | None
) -> dict[str, Any]:
    try:
        rows = watch(replayed, settings, store, console)
    finally:
        store.close()
    tell(console, summary(rows, {"store": store_url} if store_url else {}))
    return result(rows, replayed, settings)


def read_bound(text: str) -> Bound:
    """A place in the history of topics as a person writes it: a time, or offsets by partition; empty: unbounded.

    Raises `ConnectorError` for anything else.

    >>> read_bound("2026-01-31T00:00:00Z"), read_bound("2026-01-31"), read_bound("")
    (1769817600.0, 1769817600.0, None)
    >>> read_bound("generations/0:1500, labels/0:20")
    {TopicPartition(topic='generations', partition=0): 1500, TopicPartition(topic='labels', partition=0): 20}
    """
    if not text:
        return None
    try:
        if "/" in text:
            return dict(map(_read_offset, text.split(",")))
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        wanted = "a time like 2026-01-31T00:00:00Z, or offsets like generations/0:1500,labels/0:20"
        raise ConnectorError(f"{text!r} is no place in a topic; write {wanted}", retriable=False) from None


def _read_offset(text: str) -> tuple[TopicPartition, int]:
    place, _, offset = text.strip().rpartition(":")
    topic, _, partition = place.rpartition("/")
    return TopicPartition(topic, int(partition)), int(offset)


def tell(console: Console, words: str) -> None:
    """Print words as they are; only a terminal has a width to wrap them at."""
    console.print(words, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def watch(
    replayed: Replay, settings: Settings, store: Store, console: Console, observers: Sequence[Observer] = ()
) -> list[Row]:
    """Run the agent over a source that ends, with the live table; returns the last rows of the table."""
    with LiveTable(console, replayed.n_records) as table:
        Loop(
            build.pipeline_settings(settings),
            build.decoder(settings),
            store,
            lambda: replayed.source,
            NoSink,
            observers=(table, *observers),
            patience_s=settings.kafka.patience_s,
        ).run()
    return table.rows()


def result(rows: Sequence[Row], replayed: Replay, settings: Settings) -> dict[str, Any]:
    """What was said last, with the truth beside it."""
    window_events = settings.windows.window_events
    estimates = [{**_plain(row.estimate), "true_accuracy": replayed.truth(row.estimate, window_events)} for row in rows]
    ranked = sorted((row.priority for row in rows if row.priority), key=lambda priority: priority.rank)
    alerts = sorted((alert for row in rows for alert in row.alerts), key=lambda alert: alert.number)
    return {
        "estimates": estimates,
        "priorities": [_plain(priority) for priority in ranked],
        "alerts": [_plain(alert) for alert in alerts],
    }


def _plain(output: Any) -> Mapping[str, Any]:
    """The fields of an output as JSON knows them."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in payload(output).items()}
