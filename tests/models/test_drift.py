"""Drift of signals, on seeded values: what is detected, restored and confirmed."""

from __future__ import annotations

import numpy as np

from driftgauge.models.watch.adwin import CLOCK
from driftgauge.models.watch.drift import DriftMonitor

VALUES = np.concatenate([np.random.default_rng(0).normal(m, 0.1, 1500) for m in (0.8, 0.5)])


def changes(monitor: DriftMonitor, values: np.ndarray) -> list[tuple[int, float, float, int]]:
    found = [(i, c) for i, v in enumerate(values) for c in monitor.update({"p_correct": float(v)})]
    return [(i, c.before, c.after, c.n_after) for i, c in found]


def test_a_change_of_mean_is_detected_soon_and_described() -> None:
    (at, before, after, n_after), *_ = changes(DriftMonitor(), VALUES)
    assert 1500 < at < 1700
    assert before > after
    assert n_after >= at - 1500


def test_noise_around_one_mean_is_no_change() -> None:
    assert changes(DriftMonitor(), np.random.default_rng(1).normal(0.7, 0.1, 5000)) == []


def test_missing_values_of_a_signal_are_ignored() -> None:
    monitor = DriftMonitor()
    assert [monitor.update({"p_correct": float("nan")}) for _ in range(1000)] == [[]] * 1000
    assert changes(monitor, VALUES) == changes(DriftMonitor(), VALUES)


def test_a_restored_monitor_continues_as_if_never_interrupted() -> None:
    straight, before = DriftMonitor(), DriftMonitor()
    changes(straight, VALUES[:1400])
    changes(before, VALUES[:1400])
    after = DriftMonitor().restore(before.snapshot())
    assert changes(straight, VALUES[1400:]) == changes(after, VALUES[1400:])
    assert straight.snapshot() == after.snapshot()


def test_a_change_is_confirmed_only_by_values_that_change_too() -> None:
    monitor = DriftMonitor()
    change = next(c for v in VALUES for c in monitor.update({"p_correct": float(v)}))
    seen = monitor.confirm(change, (1 - VALUES[: change.n_seen]).tolist())
    assert seen is not None
    assert seen.before < seen.after
    assert abs(seen.n_after - change.n_after) <= 2 * CLOCK
    assert monitor.confirm(change, np.full(change.n_seen, 0.7).tolist()) is None
    assert monitor.confirm(change, []) is None
