"""Drift of signals, on seeded values: what is detected, restored and confirmed."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.drift import GAP, Change, DriftMonitor, by_size

VALUES = np.concatenate([np.random.default_rng(0).normal(m, 0.1, 1500) for m in (0.8, 0.5)])
LENGTHS = np.exp(5 * VALUES)
ALLOWANCE = 1e-6


def changes(monitor: DriftMonitor, values: Float64s) -> list[tuple[int, float, float, int]]:
    """Changes of one signal with a value each second."""
    found = [
        (i, c) for i, v in enumerate(values) for c in monitor.update({"entropy_sum": float(v)}, float(i), ALLOWANCE)
    ]
    return [(i, c.before, c.after, c.n_after) for i, c in found]


@pytest.mark.parametrize("values", [VALUES, LENGTHS])
def test_a_change_is_detected_soon_and_described(values: Float64s) -> None:
    (at, before, after, n_after), *_ = changes(DriftMonitor(), values)
    assert 1500 < at < 1700
    assert before > after
    assert n_after >= at - 1500
    assert after == pytest.approx(float(values[at - n_after + 1 : at + 1].mean()))


def test_signals_that_moved_at_once_are_found_together_and_named_in_order_of_how_far() -> None:
    monitor, rng, found, i = DriftMonitor(), np.random.default_rng(4), list[Change](), 0
    while not found:
        shift, i = float(i >= 1_500), i + 1
        values = {"still": rng.normal(), "little": rng.normal(shift), "much": 100 * rng.normal(2 * shift)}
        found = monitor.update(values, float(i), ALLOWANCE)
    assert [change.what for change in found] == ["much"]
    assert [change.what for change in by_size([*monitor.take_moved(), *found])] == ["much", "little"]
    assert monitor.take_moved() == []


@pytest.mark.parametrize("noise", ["normal", "lognormal"])
def test_noise_around_one_mean_is_no_change(noise: str) -> None:
    assert changes(DriftMonitor(), getattr(np.random.default_rng(1), noise)(0.7, 1.0, 5000)) == []


def test_predictions_that_are_right_on_average_have_no_gap_however_they_change() -> None:
    monitor, rng = DriftMonitor(), np.random.default_rng(2)
    for p in np.concatenate([rng.beta(2, 2, 2_000), rng.beta(9, 1, 2_000)]).tolist():
        assert monitor.update_gap(float(rng.random() < p), p, 0.0, ALLOWANCE) is None


def test_predictions_that_become_too_high_have_a_gap_which_is_described() -> None:
    monitor, rng = DriftMonitor(), np.random.default_rng(3)
    shares = np.repeat([0.8, 0.5], [500, 200])
    found = [
        (i, gap)
        for i, share in enumerate(shares)
        if (gap := monitor.update_gap(float(rng.random() < share), 0.8, float(i), ALLOWANCE))
    ]
    at, gap = found[0]
    assert 500 < at < 650
    assert (gap.what, gap.before) == (GAP, 0.0)
    assert gap.after == pytest.approx(-0.3, abs=0.1)
    assert gap.n_after == pytest.approx(at - 499, abs=40)
    assert gap.since == at - gap.n_after + 1


def test_missing_values_of_a_signal_are_ignored() -> None:
    monitor = DriftMonitor()
    assert [monitor.update({"entropy_sum": float("nan")}, 0.0, ALLOWANCE) for _ in range(1000)] == [[]] * 1000
    assert monitor.update_gap(1.0, float("nan"), 0.0, ALLOWANCE) is None
    assert changes(monitor, VALUES) == changes(DriftMonitor(), VALUES)


@pytest.mark.parametrize("cut", [10, 40, 1400, 1600])
def test_a_restored_monitor_continues_as_if_never_interrupted(cut: int) -> None:
    straight, before = DriftMonitor(), DriftMonitor()
    for monitor in (straight, before):
        changes(monitor, LENGTHS[:cut])
        monitor.update_gap(1.0, 0.5, 0.0, ALLOWANCE)
    after = DriftMonitor().restore(before.snapshot())
    assert changes(straight, LENGTHS[cut:]) == changes(after, LENGTHS[cut:])
    assert straight.snapshot() == after.snapshot()


def test_saved_detectors_of_another_kind_start_again() -> None:
    saved = {"kind": "another", "n_young": 9, "signals": {"entropy_sum": [1, 2]}, "gap": None}
    assert changes(DriftMonitor().restore(saved), VALUES) == changes(DriftMonitor(), VALUES)


def test_a_monitor_of_another_season_ranks_from_the_start() -> None:
    monitor = DriftMonitor(season="day")
    changes(monitor, VALUES[:1000])
    other = DriftMonitor(season="week").restore(monitor.snapshot())
    assert other.update({"entropy_sum": 0.1}, 0.0, ALLOWANCE) == []
    assert len(str(other.snapshot())) < len(str(monitor.snapshot()))


def test_a_change_is_confirmed_only_by_values_that_change_too() -> None:
    monitor = DriftMonitor()
    found = ((i, c) for i, v in enumerate(VALUES) for c in monitor.update({"p_correct": float(v)}, float(i), ALLOWANCE))
    at, change = next(found)
    seen = monitor.confirm(change, (1 - VALUES[: at + 1]).tolist())
    assert seen is not None
    assert seen.before < seen.after
    assert abs(seen.n_after - change.n_after) <= 30
    assert monitor.confirm(change, np.full(change.n_seen, 0.7).tolist()) is None
    assert monitor.confirm(change, []) is None
