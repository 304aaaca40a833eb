"""Late, shuffled, repeated and revised labels give the same joined labels, counts and refits as labels in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.classify.fits import fit
from driftgauge.models.events import Context, Event, Generation, Label, Signal, Tick
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate
from driftgauge.models.rows import Rows
from driftgauge.models.windows import WindowSpec
from tests.copying import replace

pytestmark = pytest.mark.xdist_group("disorder")  # so that one worker makes the fixtures of this module, once

DATA = Path(__file__).parents[1] / "recordings"
LONGEST_DELAY = 10_000
SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=1_500.0, window_events=200, hop_s=500.0),
    committee=CommitteeSettings(gate_auroc=0.0),
    emit_every_events=10**9,
    emit_every_labels=10**9,
    detect_drift=False,
)


def responses() -> tuple[list[Generation], list[float]]:
    """The bundled recordings, one response a second, each with its truth."""
    rng = np.random.default_rng(0)
    made: list[Generation] = []
    truths: list[float] = []
    for recording in (read_recording(DATA / "reference.npz"), read_recording(DATA / "drift.npz")):
        features = recording.features().astype(np.float32)
        for i in rng.permutation(len(recording)).tolist():
            at, signal = float(len(made)), Signal(features=features[i])
            made.append(Generation(f"r{len(made)}", at, str(recording.domain[i]), Context(model="m"), signal))
            truths.append(float(recording.labels[i]))
    return made, truths


def clean(made: list[Generation], truths: list[float], chosen: list[int]) -> list[Event]:
    """Every label right after its response."""
    events: list[Event] = []
    for i, generation in enumerate(made):
        events.append(generation)
        if i in chosen:
            events.append(label(i, truths[i]))
    return events


def label(i: int, correct: float, name: str = "", supersedes: str | None = None) -> Label:
    return Label(f"l{i}{name}", f"r{i}", i + 60.0 + len(name), correct, "human", "ann", 0.25, supersedes)


def disordered(made: list[Generation], truths: list[float], chosen: list[int], seed: int) -> list[Event]:
    """Labels up to `LONGEST_DELAY` events late; one in ten twice, one in ten wrong at first and then revised."""
    rng = np.random.default_rng(seed)
    placed: list[tuple[float, int, Event]] = [(float(i), 0, g) for i, g in enumerate(made)]
    for i in chosen:
        events = [label(i, truths[i])]
        if rng.random() < 0.1:
            events = [label(i, 1 - truths[i], "-wrong"), label(i, truths[i], "-revised", f"l{i}-wrong")]
        if rng.random() < 0.1:
            events *= 2
        placed += [(i + float(rng.integers(0, LONGEST_DELAY)), n, e) for n, e in enumerate(events, start=1)]
    return [event for _, _, event in sorted(placed, key=lambda place: place[:2])]


class Played:
    """A log that was played to its end, 500 events a batch."""

    def __init__(self, events: list[Event]) -> None:
        self.store, self.pipeline = MemoryStore(), Pipeline(SETTINGS)
        self.windows: dict[tuple[str, float], Estimate] = {}
        self._play(events)
        end = self.pipeline.state.boundary  # as at the end of every source
        self._play([Tick(end)])
        while self.pipeline.state.n_stale:
            self._play([Tick(end)])

    def _play(self, events: list[Event]) -> None:
        for at in range(0, len(events), 500):
            with self.store.transaction() as transaction:
                outputs = self.pipeline.step(events[at : at + 500], transaction)
                transaction.emit(outputs)
            self.windows |= {(e.domain, e.window_end): e for e in outputs if isinstance(e, Estimate)}

    def truths(self) -> list[tuple[str, float, float, str]]:
        with self.store.transaction() as transaction:
            rows = transaction.responses([f"r{i}" for i in range(self.pipeline.state.n_responses)])
        return sorted((r.id, r.correct, r.weight, r.label_kind) for r in rows.values() if r.label_kind)

    def training_rows(self) -> Rows:
        (fingerprint,) = self.pipeline.state.contexts
        with self.store.transaction() as transaction:
            return transaction.labelled(fingerprint, 5_000)


@pytest.fixture(scope="module")
def both() -> tuple[Played, Played]:
    made, truths = responses()
    chosen = np.flatnonzero(np.random.default_rng(1).random(len(made)) < 0.25).tolist()
    return Played(clean(made, truths, chosen)), Played(disordered(made, truths, chosen, seed=2))


def test_the_disordered_log_contains_revised_and_repeated_labels(both: tuple[Played, Played]) -> None:
    tidy, messy = (played.pipeline.state for played in both)
    assert tidy.counters["labels_revised"] == tidy.counters["duplicate_labels"] == 0
    assert messy.counters["labels_revised"] > 30
    assert messy.counters["duplicate_labels"] > 50
    assert messy.n_pending == tidy.n_pending == 0


def test_disordered_labels_give_the_same_joined_labels(both: tuple[Played, Played]) -> None:
    tidy, messy = both
    assert len(tidy.truths()) > 800
    assert messy.truths() == tidy.truths()


def test_disordered_labels_give_the_same_counts_in_every_window(both: tuple[Played, Played]) -> None:
    tidy, messy = both
    counts = {key: (e.n_events, e.n_labels) for key, e in tidy.windows.items()}
    assert len(counts) > 50
    assert {key: (e.n_events, e.n_labels) for key, e in messy.windows.items()} == counts
    assert sum(e.revision > 1 for e in messy.windows.values()) > sum(e.revision > 1 for e in tidy.windows.values())


@pytest.mark.parametrize("kind", ["random_forest", "logistic_regression", "gradient_boosting"])
def test_disordered_labels_give_the_same_fit(both: tuple[Played, Played], kind: str) -> None:
    first, second = (predictions_of_a_fit(played.training_rows(), kind) for played in both)
    assert first == second


def test_a_fit_changes_with_one_label(both: tuple[Played, Played]) -> None:
    rows = both[0].training_rows()
    changed = replace(rows, correct=np.r_[1 - rows.correct[:1], rows.correct[1:]])
    assert predictions_of_a_fit(rows, "random_forest") != predictions_of_a_fit(changed, "random_forest")


def predictions_of_a_fit(rows: Rows, kind: str) -> bytes:
    return fit(kind, rows.features, rows.correct, rows.weight, seed=0).probabilities(rows.features).tobytes()
