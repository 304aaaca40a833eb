"""Replays: recorded traffic, or the past of Kafka topics, through the whole agent.

Files are replayed in order, one after another; Kafka topics are read between two bounds. A replay does not touch the
live agent: it publishes nothing and has a separate store. Its result holds the last outputs with the fields of the
published events, and for each estimate the true accuracy of the same window, when the files contain it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from driftgauge.agent.outlets.account import FinalAccount
from driftgauge.agent.outlets.live_table import LiveTable, Row
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.summary import summary
from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, Source, Store
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.traffic import LabelPlan, RecordingSource, Traffic
from driftgauge.connectors.kafka.history import Bound
from driftgauge.connectors.publishing.payload import payload
from driftgauge.connectors.store.database import is_same_store, parse, shown
from driftgauge.connectors.testing import MemoryStore, NoSink
from driftgauge.models.outputs import Estimate

LISTING = "driftgauge dead-letters list --store {}"
"""The command that shows the dead letters of a store."""


class Truth(Protocol):
    """What tells the true accuracy of a window."""

    def truth(self, estimate: Estimate, window_events: int) -> float | None:
        """The true accuracy of the responses in the window of an estimate; None when it is unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A source to replay, and the traffic with its true accuracy, when the files contain it."""

    source: Source
    n_records: int | None = None
    traffic: Traffic | None = None

    def truth(self, estimate: Estimate, window_events: int) -> float | None:
        """The true accuracy of the responses in the window of an estimate; None when it is unknown."""
        if self.traffic is None:
            return None
        window = estimate.window_start, estimate.window_end
        return self.traffic.true_accuracy(estimate.domain, *window, last=window_events)


def open_files(paths: Sequence[Path], plan: LabelPlan, seed: int) -> Replay:
    """Open files as one source: recordings (``.npz``), whose labels follow the plan, or files of events.

    Raises
    ------
    ConnectorError
        When recordings and files of events are mixed, or a file cannot be read.
    """
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
    """Replay files with a live table, print the summary, and return the result."""
    store = build.store(settings, store_url) if store_url else MemoryStore()
    return _replay(open_files(paths, plan, seed), settings, store, console, store_url)


def replay_topics(
    begin: Bound, end: Bound, settings: Settings, console: Console, *, store_url: str | None = None
) -> dict[str, Any]:
    """Replay the records of topics between two bounds; see `replay_files`.

    Without ``store_url`` the store is a temporary file.
    """
    if store_url and is_same_store(store_url, settings.store.url.get_secret_value()):
        raise ConnectorError("that is the store of the live agent; a replay needs another store", retriable=False)
    replayed = Replay(build.kafka_history(settings, begin, end))
    with tempfile.TemporaryDirectory(prefix="driftgauge-replay-") as folder:
        store = build.store(settings, store_url or f"sqlite:///{folder}/store.db")
        return _replay(replayed, settings, store, console, store_url)


def _replay(
    replayed: Replay, settings: Settings, store: Store, console: Console, store_url: str | None
) -> dict[str, Any]:
    final = FinalAccount()
    try:
        with store.transaction() as transaction:
            goes_on = bool(transaction.positions())
        rows = run_with_table(replayed, settings, store, console, (final,))
        final.pending = store.pending_labels()
    finally:
        store.close()
    place = shown(parse(store_url)) if store_url else ""
    if goes_on and not final.records.records:
        print_text(console, f"There was no new record: {place} was filled from here before, up to the end.")
    else:
        account = final.lines(LISTING.format(place) if place else "")
        print_text(console, summary(rows, {"store": place} if place else {}, final.pending, account))
    return result(rows, replayed, settings, final)


def print_text(console: Console, text: str) -> None:
    """Print text without markup. It is wrapped only on a terminal, because only a terminal has a width."""
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def run_with_table(
    replayed: Replay, settings: Settings, store: Store, console: Console, observers: Sequence[Observer] = ()
) -> list[Row]:
    """Run the agent over a source that ends, with a live table; return the last rows of the table."""
    with LiveTable(console, replayed.n_records) as table:
        Loop(
            build_pipeline.pipeline_settings(settings),
            build_decoding.decoder(settings, features_anywhere=isinstance(replayed.source, FileSource)),
            store,
            lambda: replayed.source,
            NoSink,
            observers=(table, *observers),
            patience_s=settings.kafka.patience_s,
        ).run()
    return table.rows()


def result(rows: Sequence[Row], known: Truth, settings: Settings, account: FinalAccount) -> dict[str, Any]:
    """The last estimates with the true accuracy of their windows, the last data list, all alerts, and the account."""
    window_events = settings.windows.window_events
    estimates = [{**_plain(row.estimate), "true_accuracy": known.truth(row.estimate, window_events)} for row in rows]
    ranked = sorted((row.priority for row in rows if row.priority), key=lambda priority: priority.rank)
    alerts = {alert.number: alert for row in rows for alert in row.alerts}  # some are about several domains
    return {
        "estimates": estimates,
        "priorities": [_plain(priority) for priority in ranked],
        "alerts": [_plain(alerts[number]) for number in sorted(alerts)],
        "account": account.to_json(),
    }


def _plain(output: Any) -> Mapping[str, Any]:
    """The fields of an output as plain values for JSON."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in payload(output).items()}
