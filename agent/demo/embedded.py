"""The demo in one process: the whole agent on the bundled traffic.

The demo replays reference traffic of ten domains, with few and late labels and one domain without labels. Harder
traffic for the same model follows, with three new domains. `agent/demo/on_kafka.py` runs the same as three processes.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from driftgauge.agent.outlets.account import FinalAccount
from driftgauge.agent.outlets.live_table import LatestOutputs, Row
from driftgauge.agent.outlets.summary import distance_to_truth, summary
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import Truth, open_files, print_text, result, run_with_table
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.traffic import LabelPlan
from driftgauge.connectors.store.queries import open_queries

PLAN = LabelPlan(delay=150, fraction=0.25, fractions={"compare": 0.05, "unit": 0.05}, without=frozenset({"capital"}))
"""A quarter of the responses gets a label, 150 responses later. Two domains get few labels, one domain gets none."""

SHORT = {
    "windows.window_s": 1_250,
    "windows.window_events": 400,
    "windows.hop_s": 250,
    "report.period_s": 86_400,
    "drift.horizon_s": 86_400,
    "drift.season": "none",
}
"""The bundled traffic has one response per second of event time, so windows are minutes, not days.

In its 3,830 responses, one false drift warning in a day is .04.
"""

STORE = "demo.db"


def bundled() -> list[Path]:
    """The recordings that come with the package, in the order of the demo."""
    folder = files("driftgauge.agent.demo") / "data"
    return [Path(str(folder / name)) for name in ("chat.npz", "chat_later.npz")]


def settings_in(folder: Path, **more: object) -> Settings:
    """The settings of the demo. Everything that the demo writes goes into ``folder``."""
    store = {"store.url": f"sqlite:///{folder / STORE}", "report.folder": str(folder / "report")}
    return load_settings(None, {**SHORT, **store, **more})


def make_room(folder: Path) -> None:
    """Create an empty folder, in place of one that an earlier demo wrote.

    Raises
    ------
    ConnectorError
        When the folder holds anything but an earlier demo, or cannot be created.
    """
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / STORE).exists():
            raise ConnectorError(
                f"{folder} is not empty and not from an earlier demo; choose another folder", retriable=False
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConnectorError(f"{folder} cannot be used: {error.strerror}", retriable=False) from error


def run_embedded(folder: Path, console: Console, *, seed: int = 0) -> None:
    """Replay the bundled traffic into an SQLite store with a live table, then print the summary."""
    make_room(folder)
    settings, replayed = settings_in(folder), open_files(bundled(), PLAN, seed)
    print_text(console, f"Replaying {replayed.n_records:,} events: recorded responses, and labels 150 responses later.")
    store = build.store(settings)
    account = FinalAccount()
    try:
        run_with_table(replayed, settings, store, console, (account,))
    finally:
        store.close()
    conclude(folder, replayed, settings, console, account)


def conclude(folder: Path, known: Truth, settings: Settings, console: Console, account: FinalAccount) -> None:
    """Write the report and the results, and print the summary with the account of the records."""
    rows, reports, results = stored_rows(settings), build.report_writer(settings).write().files, folder / "results.json"
    results.write_text(json.dumps(result(rows, known, settings, account), indent=2) + "\n")
    places = {"store": folder / STORE, "results": results, "report": reports[-1]}
    print_text(console, closing_words(rows, known, settings, places, account))


def stored_rows(settings: Settings) -> list[Row]:
    """The final rows of the table, read from the store."""
    latest = LatestOutputs()
    with closing(open_queries(settings.store.url.get_secret_value())) as queries:
        latest.add(queries.estimates(-math.inf, math.inf))
        latest.add(queries.alerts(-math.inf, math.inf))
        if acquisition := queries.latest_acquisition():
            latest.add([acquisition])
    return latest.rows()


def closing_words(
    rows: Sequence[Row], known: Truth, settings: Settings, places: Mapping[str, object], account: FinalAccount
) -> str:
    """The summary, and the distance of the estimates to the true accuracy, which is known here."""
    by_domain = {row.estimate.domain: known.truth(row.estimate, settings.windows.window_events) for row in rows}
    truth = {domain: accuracy for domain, accuracy in by_domain.items() if accuracy is not None}
    estimated, labelled = distance_to_truth(rows, truth)
    words = summary(rows, places, account=account.lines())
    return (
        f"{words}\nThe true accuracy is known here: the estimates are {estimated:.3f} away from "
        f"it on average, the labels alone would be {labelled:.3f} away."
    )
