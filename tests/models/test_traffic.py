"""The counts of traffic are bounded, and their parts fit the windows."""

from __future__ import annotations

import pytest

from driftgauge.models.traffic import PARTS, Traffic
from driftgauge.models.windows import WindowSpec


def test_the_counts_of_traffic_are_bounded_and_keep_the_present_wherever_clocks_run_ahead() -> None:
    spec = WindowSpec(window_s=86_400.0, hop_s=3_600.0)
    traffic, now = Traffic(spec), 400 * 86_400.0
    for i in range(1_000):
        traffic.add(now + 3_600.0 * (i + 1), boundary=now)  # a clock that runs further and further ahead
        traffic.add(now - 90_000.0 * (i + 1), boundary=now)  # and one that runs late
        traffic.add(now - 10.0, boundary=now)
    assert len(traffic.counts) <= 2 * PARTS
    assert traffic.in_window(now) == 1_000


@pytest.mark.parametrize(("window_s", "hop_s", "part_s"), [(86_400, 3_600, 3_600), (86_400, 60, 3_600), (100, 10, 10)])
def test_a_window_has_at_most_24_parts_that_are_multiples_of_the_hop(window_s: int, hop_s: int, part_s: int) -> None:
    assert Traffic(WindowSpec(window_s=window_s, hop_s=hop_s)).part_s == part_s
