"""What ``driftgauge demo`` does: the whole agent on the bundled traffic, in one process.

The story: ten domains of reference traffic, labels late and few, one domain without any; then the same model on harder
traffic, with three domains it never saw. `agent/demo/on_kafka.py` tells it as three processes over a broker.
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

from driftgauge.agent.outlets.live_table import Board, Row
from driftgauge.agent.outlets.report_files import write_report_now
from driftgauge.agent.outlets.summary import distance_to_truth, summary
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import Replay, open_files, result, tell, watch
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.traffic import LabelPlan
from driftgauge.connectors.store.queries import open_queries

PLAN = LabelPlan(delay=150, fraction=0.25, fractions={"mod": 0.05, "pct": 0.05}, without=frozenset({"seq"}))
"""A quarter of the responses gets a label 150 responses later; two domains get few, one gets none."""

WINDOWS = {"windows.window_s": 1_500, "windows.window_events": 400, "windows.hop_s": 250, "report.period_s": 86_400}
"""One response is one second of event time here, so windows are minutes, not days."""

STORE = "demo.db"


def bundled() -> list[Path]:
    """The recordings that come with the package, in the order of the story."""
    folder = files("driftgauge.agent.demo") / "data"
    return [Path(str(folder / name)) for name in ("reference.npz", "drift.npz")]


def settings_in(folder: Path, **more: object) -> Settings:
    """The settings of the demo: everything it writes goes into the folder."""
    store = {"store.url": f"sqlite:///{folder / STORE}", "report.folder": str(folder / "report")}
    return load_settings(None, {**WINDOWS, **store, **more})


def make_room(folder: Path) -> None:
    """Make the folder, or remove what an earlier demo wrote into it.

    Raises
    ------
    ConnectorError
        When the folder holds anything else, or cannot be made.
    """
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / STORE).exists():
            raise ConnectorError(f"{folder} is not empty and not from an earlier demo: name another", retriable=False)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConnectorError(f"{folder} cannot be used: {error.strerror}", retriable=False) from error


def run_embedded(folder: Path, console: Console, *, seed: int = 0) -> None:
    """Replay the story into an SQLite file, with a live table, and say what was found."""
    make_room(folder)
    settings, replayed = settings_in(folder), open_files(bundled(), PLAN, seed)
    tell(console, f"Replaying {replayed.n_records:,} events: recorded responses, and labels 150 responses later.")
    store = build.store(settings)
    try:
        watch(replayed, settings, store, console)
    finally:
        store.close()
    conclude(folder, replayed, settings, console)


def conclude(folder: Path, replayed: Replay, settings: Settings, console: Console) -> None:
    """Write report and results, and say what was found."""
    rows, reports, results = stored_rows(settings), write_report_now(settings), folder / "results.json"
    results.write_text(json.dumps(result(rows, replayed, settings), indent=2) + "\n")
    where = {"store": folder / STORE, "results": results, "report": reports[0]}
    tell(console, closing_words(rows, replayed, settings, where))


def stored_rows(settings: Settings) -> list[Row]:
    """The last rows of the table, from the store."""
    board = Board()
    with closing(open_queries(settings.store.url.get_secret_value())) as reader:
        board.take(reader.estimates(-math.inf, math.inf))
        board.take(reader.alerts(-math.inf, math.inf))
        if acquisition := reader.latest_acquisition():
            board.take([acquisition])
    return board.rows()


def closing_words(rows: Sequence[Row], replayed: Replay, settings: Settings, where: Mapping[str, object]) -> str:
    """The summary, and how close the estimates came to the truth, which the recordings know."""
    known = {row.estimate.domain: replayed.truth(row.estimate, settings.windows.window_events) for row in rows}
    truth = {domain: accuracy for domain, accuracy in known.items() if accuracy is not None}
    estimated, labelled = distance_to_truth(rows, truth)
    return (
        f"{summary(rows, where)}\nThe recordings know the truth: the estimates are {estimated:.3f} away from it on "
        f"average, the labels alone would be {labelled:.3f} away."
    )
