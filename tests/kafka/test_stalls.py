"""Which partitions count as stalled, without a broker."""

from __future__ import annotations

from driftgauge.connectors.base import TopicPartition
from driftgauge.connectors.kafka.stalls import StallDetector

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


def test_a_partition_at_its_end_never_stalls() -> None:
    detector = StallDetector(10.0)
    assert not any(detector.update({ONE: 9}, {ONE: 9}, now=float(now)) for now in range(100))


def test_a_partition_that_moves_never_stalls() -> None:
    detector = StallDetector(10.0)
    assert not any(detector.update({ONE: now}, {ONE: 1_000}, now=float(now)) for now in range(100))


def test_only_the_partition_that_stands_still_is_stalled_once_the_time_is_over() -> None:
    detector = StallDetector(10.0)
    stalled = [detector.update({ONE: 3, OTHER: now}, {ONE: 9, OTHER: 99}, now=float(now)) for now in range(12)]
    assert stalled == [[]] * 10 + [[ONE]] * 2


def test_the_stall_time_starts_again_with_each_movement() -> None:
    detector = StallDetector(10.0)
    moves_at_9 = [3 if now < 9 else 4 for now in range(20)]
    stalled = [detector.update({ONE: at}, {ONE: 9}, now=float(now)) for now, at in enumerate(moves_at_9)]
    assert stalled == [[]] * 19 + [[ONE]]


def test_the_stall_time_starts_from_zero_after_a_reset() -> None:
    detector = StallDetector(10.0)
    detector.update({ONE: 3}, {ONE: 9}, now=0.0)
    detector.reset()
    assert [detector.update({ONE: 3}, {ONE: 9}, now=now) for now in (15.0, 24.0, 25.0)] == [[], [], [ONE]]


def test_no_partition_stalls_with_a_timeout_of_zero() -> None:
    detector = StallDetector(0.0)
    assert not any(detector.update({ONE: 3}, {ONE: 9}, now=float(now)) for now in range(100))
