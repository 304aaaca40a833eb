"""ADWIN detects what river's implementation of the same paper detects, value for value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from river.drift import ADWIN

from driftgauge.models.watch.adwin import CLOCK, Adwin

GRACE = 30


def stream(seed: int) -> list[float]:
    """Values whose mean and spread change four times."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.uniform(0, 1), rng.uniform(0.01, 0.5), int(rng.integers(20, 2_000))) for _ in range(5)]
    return [float(value) for value in np.concatenate(parts)]


def by_river(values: list[float], delta: float) -> list[tuple[int, int, float]]:
    """Number of the value, length and mean of the window that is left, for each detection."""
    make: Any = ADWIN
    detector, found = make(delta=delta, grace_period=GRACE, clock=CLOCK), []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append((at, detector.width, detector.estimation))
    return found


@pytest.mark.parametrize("delta", [0.002, 0.1])
def test_detections_are_those_of_river(delta: float) -> None:
    n_detections = 0
    for seed in range(20):
        detector, found = Adwin(delta, GRACE), []
        for at, value in enumerate(stream(seed)):
            if detector.update(value):
                assert detector.change
                found.append((at, detector.change.n_after, detector.change.after))
        expected = by_river(stream(seed), delta)
        assert [place[:2] for place in found] == [place[:2] for place in expected]
        np.testing.assert_allclose([mean for *_, mean in found], [mean for *_, mean in expected])
        n_detections += len(found)
    assert n_detections > 50
