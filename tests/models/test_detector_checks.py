"""The checks that every kind of change detector must pass, and a toy detector that joins them by one entry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
import pytest
from scipy.stats import binom

from driftgauge.models.watch.catalogue import DETECTORS, new_detector, new_mean_change_detector
from driftgauge.models.watch.detector import (
    ChangeDetector,
    Description,
    DetectorSettings,
    MeanChange,
    MeanChangeDetector,
)
from driftgauge.models.watch.drift import DriftMonitor

BLOCK, THRESHOLD = 50, 0.4


class BlockMeans:
    """Compares the mean of every 50 values with the mean of the 50 before: a toy that keeps its promise (Hoeffding)."""

    description: ClassVar[Description] = Description("block_means", "change_of_mean", 0.0, 1.0, max_state_bytes=32)

    def __init__(self) -> None:
        self.change: MeanChange | None = None
        self.total, self.n, self.before = 0.0, 0, -1.0

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        del settings
        return cls()

    def false_alarm_share(self, n_values: int) -> float:
        return min(2 * math.exp(-BLOCK * THRESHOLD**2) * (n_values // BLOCK), 1.0)

    def update(self, value: float, event_time: float = 0.0, allowance: float | None = None, /) -> bool:
        del event_time, allowance
        self.change = None
        if value != value:
            return False
        self.total, self.n = self.total + value, self.n + 1
        if self.n < BLOCK:
            return False
        before, after = self.before, self.total / BLOCK
        self.total, self.n, self.before = 0.0, 0, after
        if before < 0 or abs(after - before) <= THRESHOLD:
            return False
        self.change = MeanChange(before, after, BLOCK, 2 * BLOCK)
        return True

    def restart(self) -> None:
        self.change = None

    def snapshot(self) -> list[Any]:
        return [self.total, self.n, self.before]

    def restore(self, state: list[Any], /) -> Self:
        self.total, self.n, self.before = state
        return self


@pytest.fixture(autouse=True)
def _one_more_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DETECTORS, "block_means", BlockMeans)


kinds = pytest.mark.parametrize("kind", [*DETECTORS, "block_means"])


def noise(kind: str, mean: float, n: int, seed: int = 0) -> list[float]:
    """Values that are the lowest or the highest the detector takes, at random, with this mean as a share of the range.

    No other values between these bounds vary more.
    """
    low, high = DETECTORS[kind].description.low, DETECTORS[kind].description.high
    values: list[float] = np.where(np.random.default_rng(seed).random(n) < mean, high, low).tolist()
    return values


def changing(kind: str) -> list[float]:
    """1,000 values of which the last 500 are low after high ones, then high and low again."""
    return [v for i, mean in enumerate((0.95, 0.05, 0.95, 0.05)) for v in noise(kind, mean, 500 - 250 * (i > 0), i)]


def detections(detector: ChangeDetector, values: list[float]) -> Iterator[tuple[int, MeanChange | None]]:
    """At which of the values a change is detected, and the change where the detector describes it."""
    for i, value in enumerate(values):
        if detector.update(value):
            if isinstance(detector, MeanChangeDetector):
                change = detector.change
                detector.restart()
                yield i, change
            else:
                yield i, None


def state(detector: ChangeDetector) -> bytes:
    return msgspec.msgpack.encode(detector.snapshot())


@kinds
def test_a_detector_describes_what_it_takes_and_finds(kind: str) -> None:
    detector = new_detector(kind)
    description = detector.description
    assert description.kind == kind
    assert description.low < description.high
    assert isinstance(detector, MeanChangeDetector) == (description.finds == "change_of_mean")


@kinds
def test_a_detector_restored_after_any_value_continues_as_if_never_interrupted(kind: str) -> None:
    straight, restored = new_detector(kind), new_detector(kind)
    n_detected = 0
    for value in changing(kind):
        restored = new_detector(kind).restore(msgspec.msgpack.decode(state(restored)))
        expected = list(detections(straight, [value]))
        assert list(detections(restored, [value])) == expected
        assert state(restored) == state(straight)
        n_detected += len(expected)
    assert n_detected


@kinds
def test_the_same_values_give_the_same_detections_and_the_same_state(kind: str) -> None:
    first, second = new_detector(kind), new_detector(kind)
    assert list(detections(first, changing(kind))) == list(detections(second, changing(kind))) != []
    assert state(first) == state(second)


@kinds
def test_constant_values_are_no_change(kind: str) -> None:
    low, high = DETECTORS[kind].description.low, DETECTORS[kind].description.high
    is_target = DETECTORS[kind].description.finds == "fall_below_target"
    for share in (DetectorSettings().target, 1.0) if is_target else (0.0, 0.3, 1.0):
        assert list(detections(new_detector(kind), [low + share * (high - low)] * 2_000)) == []


@kinds
def test_a_large_fall_is_detected_soon_and_described(kind: str) -> None:
    values = noise(kind, 0.95, 510) + noise(kind, 0.05, 200, seed=1)
    at, change = next(detections(new_detector(kind), values))
    assert 510 <= at < 610
    if change:
        assert change.before > change.after
        assert 0 < change.n_after < change.n_seen <= at + 1


@kinds
def test_a_large_rise_is_detected_by_what_finds_changes_in_either_direction(kind: str) -> None:
    values = noise(kind, 0.8, 510) + noise(kind, 1.0, 200, seed=1)
    if DETECTORS[kind].description.finds == "fall_below_target":
        assert list(detections(new_detector(kind), values)) == []
        return
    values = noise(kind, 0.05, 510) + noise(kind, 0.95, 200, seed=1)
    at, change = next(detections(new_detector(kind), values))
    assert 510 <= at < 610
    assert change
    assert change.before < change.after


@kinds
def test_streams_without_a_change_raise_no_more_false_alarms_than_promised(kind: str) -> None:
    settings = DetectorSettings(delta=0.001)
    n_streams, n_values = 100, 400
    promised = new_detector(kind, settings).false_alarm_share(n_values)
    if not DETECTORS[kind].description.is_proven:
        assert promised == 1.0
        return
    streams = [noise(kind, settings.target, n_values, seed) for seed in range(n_streams)]
    n_false = sum(any(detections(new_detector(kind, settings), values)) for values in streams)
    assert 0 < promised < 0.5
    assert n_false <= binom.ppf(0.999, n_streams, promised)


@kinds
def test_missing_values_are_ignored(kind: str) -> None:
    with_gaps, without = new_detector(kind), new_detector(kind)
    detected = []
    for value in changing(kind):
        assert not with_gaps.update(math.nan)
        detected += [change for _, change in detections(with_gaps, [value])]
    assert detected == [change for _, change in detections(without, changing(kind))] != []
    assert state(with_gaps) == state(without)


@kinds
def test_the_state_stays_within_its_bound(kind: str) -> None:
    detector = new_detector(kind)
    for value in (changing(kind) + noise(kind, 0.5, 1_500)) * 3:
        detector.update(value)
        assert len(state(detector)) <= detector.description.max_state_bytes


@kinds
def test_a_snapshot_is_plain_values_and_no_pickle(kind: str) -> None:
    detector = new_detector(kind)
    list(detections(detector, changing(kind)))
    for value in _leaves(detector.snapshot()):
        assert type(value) in (bool, int, float, str, bytes, type(None))
        assert not isinstance(value, bytes) or value[:1] != b"\x80"  # how a pickle begins


def _leaves(value: Any) -> Iterator[Any]:
    if type(value) in (list, tuple, dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


@kinds
def test_a_monitor_can_use_every_detector_of_a_change_of_mean(kind: str) -> None:
    if DETECTORS[kind].description.finds != "change_of_mean":
        with pytest.raises(ValueError, match="not a change_of_mean"):
            new_mean_change_detector(kind)
        return
    straight, interrupted = DriftMonitor(kind=kind), DriftMonitor(kind=kind)
    found = []
    for value in changing(kind):
        interrupted = DriftMonitor(kind=kind).restore(interrupted.snapshot())
        changes = straight.update({"p_correct": value, "entropy_sum": math.nan}, 0.0, 1e-3)
        assert interrupted.update({"p_correct": value, "entropy_sum": math.nan}, 0.0, 1e-3) == changes
        found += changes
    assert {change.what for change in found} == {"p_correct"}


def test_a_kind_that_does_not_exist_is_an_error_that_lists_the_kinds() -> None:
    with pytest.raises(
        ValueError, match="no detector of kind 'nonsense'; there are rank_shift, adwin, page_hinkley, kswin, below"
    ):
        new_detector("nonsense")
