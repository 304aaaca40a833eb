"""Drift of signals, on seeded values: what is detected, restored and confirmed."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.drift import GAP, Change, DriftMonitor, described

VALUES = np.concatenate([np.random.default_rng(0).normal(m, 0.1, 1500) for m in (0.8, 0.5)])
LENGTHS = np.exp(5 * VALUES)


def changes(monitor: DriftMonitor, values: Float64s) -> list[tuple[int, float, float, int]]:
    """Changes of one signal with a value each second."""
    found = [(i, c) for i, v in enumerate(values) for c in monitor.update({"entropy_sum": float(v)}, float(i))]
    return [(i, c.before, c.after, c.n_after) for i, c in found]


@pytest.mark.parametrize("values", [VALUES, LENGTHS])
def test_a_change_is_detected_soon_and_described(values: Float64s) -> None:
    (at, before, after, n_after), *_ = changes(DriftMonitor(), values)
    assert 1500 < at < 1700
    assert before > after
    assert n_after >= at - 1500


def test_a_change_is_described_in_the_units_of_the_signal() -> None:
    shown = described(Change(0.5, 0.2, 100, 1_000, "entropy_sum"), np.repeat([np.nan, 40.0, 25.0], [50, 300, 100]))
    assert (shown.before, shown.after, shown.n_after) == (40.0, 25.0, 100)
    assert described(Change(0.5, 0.2, 100, 1_000, "entropy_sum"), np.array([7.0])).after == 7.0


@pytest.mark.parametrize("noise", ["normal", "lognormal"])
def test_noise_around_one_mean_is_no_change(noise: str) -> None:
    assert changes(DriftMonitor(), getattr(np.random.default_rng(1), noise)(0.7, 1.0, 5000)) == []


def test_predictions_that_are_right_on_average_have_no_gap_however_they_change() -> None:
    monitor, rng = DriftMonitor(), np.random.default_rng(2)
    for p in np.concatenate([rng.beta(2, 2, 2_000), rng.beta(9, 1, 2_000)]).tolist():
        assert monitor.update_gap(float(rng.random() < p), p) is None


def test_predictions_that_become_too_high_have_a_gap_which_is_described() -> None:
    monitor, rng = DriftMonitor(), np.random.default_rng(3)
    shares = np.repeat([0.8, 0.5], [500, 200])
    found = [
        (i, gap) for i, share in enumerate(shares) if (gap := monitor.update_gap(float(rng.random() < share), 0.8))
    ]
    at, gap = found[0]
    assert 500 < at < 650
    assert (gap.what, gap.before) == (GAP, 0.0)
    assert gap.after == pytest.approx(-0.3, abs=0.1)
    assert gap.n_after == pytest.approx(at - 499, abs=40)


def test_missing_values_of_a_signal_are_ignored() -> None:
    monitor = DriftMonitor()
    assert [monitor.update({"entropy_sum": float("nan")}, 0.0) for _ in range(1000)] == [[]] * 1000
    assert monitor.update_gap(1.0, float("nan")) is None
    assert changes(monitor, VALUES) == changes(DriftMonitor(), VALUES)


@pytest.mark.parametrize("cut", [10, 40, 1400, 1600])
def test_a_restored_monitor_continues_as_if_never_interrupted(cut: int) -> None:
    straight, before = DriftMonitor(), DriftMonitor()
    for monitor in (straight, before):
        changes(monitor, LENGTHS[:cut])
        monitor.update_gap(1.0, 0.5)
    after = DriftMonitor().restore(before.snapshot())
    assert changes(straight, LENGTHS[cut:]) == changes(after, LENGTHS[cut:])
    assert straight.snapshot() == after.snapshot()


def test_saved_detectors_of_another_kind_start_again() -> None:
    saved = {"kind": "another", "signals": {"entropy_sum": [1, 2]}, "gap": None}
    assert changes(DriftMonitor().restore(saved), VALUES) == changes(DriftMonitor(), VALUES)


def test_a_monitor_of_another_season_ranks_from_the_start() -> None:
    monitor = DriftMonitor(season_hours=24)
    changes(monitor, VALUES[:1000])
    other = DriftMonitor(season_hours=168).restore(monitor.snapshot())
    assert other.update({"entropy_sum": 0.1}, 0.0) == []
    assert len(str(other.snapshot())) < len(str(monitor.snapshot()))


def test_a_change_is_confirmed_only_by_values_that_change_too() -> None:
    monitor = DriftMonitor()
    found = ((i, c) for i, v in enumerate(VALUES) for c in monitor.update({"p_correct": float(v)}, float(i)))
    at, change = next(found)
    seen = monitor.confirm(change, (1 - VALUES[: at + 1]).tolist())
    assert seen is not None
    assert seen.before < seen.after
    assert abs(seen.n_after - change.n_after) <= 30
    assert monitor.confirm(change, np.full(change.n_seen, 0.7).tolist()) is None
    assert monitor.confirm(change, []) is None
