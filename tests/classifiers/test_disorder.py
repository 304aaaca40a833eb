"""How labels that come late, shuffled and revised change a classifier, on recorded traffic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from driftgauge.agent.evaluation.fit import rows_of
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.online import OnlineRegression
from driftgauge.models.rows import Rows

RECORDING = Path(__file__).parents[1] / "recordings" / "reference.npz"
LEARNED = 1_500
RUNS = 12
Indices = npt.NDArray[np.intp]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return rows_of([read_recording(RECORDING)])


def brier(rows: Rows, order: Indices, correct: Float64s) -> float:
    """On responses not learned, after learning these labels in this order."""
    classifier = OnlineRegression()
    classifier.test_then_train(rows.features[order], correct, np.ones(len(order)))
    p = classifier.predict_proba(rows.features[LEARNED:])
    return float(np.mean((p - rows.correct[LEARNED:]) ** 2))


def disordered(rows: Rows, seed: int) -> tuple[Indices, Float64s]:
    """Labels delayed by 0 to 10,000 events; one in ten is wrong at first and revised up to 5,000 events later."""
    rng = np.random.default_rng(seed)
    arrival = np.arange(LEARNED) + rng.integers(0, 10_000, LEARNED)
    revised = np.flatnonzero(rng.random(LEARNED) < 0.1)
    first = rows.correct[:LEARNED].copy()
    first[revised] = 1 - first[revised]
    at = np.concatenate([arrival, arrival[revised] + rng.integers(1, 5_000, len(revised))])
    order = np.argsort(at, kind="stable")
    which = np.concatenate([np.arange(LEARNED), revised])[order]
    return which, np.concatenate([first, rows.correct[revised]])[order]


def test_disordered_labels_change_the_brier_score_no_more_than_another_order_of_clean_labels(rows: Rows) -> None:
    clean = brier(rows, np.arange(LEARNED), rows.correct[:LEARNED])
    shuffles = [np.random.default_rng(seed).permutation(LEARNED) for seed in range(RUNS)]
    reshuffled = np.abs([brier(rows, order, rows.correct[order]) - clean for order in shuffles])
    moved = np.abs([brier(rows, *disordered(rows, seed)) - clean for seed in range(RUNS)])
    error = np.sqrt((moved.var(ddof=1) + reshuffled.var(ddof=1)) / RUNS)
    assert moved.mean() <= reshuffled.mean() + 3 * error
    assert moved.max() < 0.02  # of a Brier score of .14, .23 for a constant
