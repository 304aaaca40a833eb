"""The order of the acquisition list, on estimates written by hand and on traffic that a pipeline counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models import acquisition
from driftgauge.models.events import Context, Event, Generation, Tick
from driftgauge.models.outputs import Acquisition, Estimate, Priority
from driftgauge.models.traffic import PARTS, Traffic
from driftgauge.models.windows import WindowSpec
from tests.pipeline.logs import SETTINGS, START, signal

SURE = Estimate(
    domain="sure", fingerprint="f", model="m", window_start=0, window_end=1, watermark=1, revision=1, status="ok",
    status_reason=None, accuracy=0.9, ci_low=0.88, ci_high=0.92, confidence_level=0.9, estimator="e", n_events=100,
    n_labels=50, effective_sample_size=50, accuracy_labelled=0.9, classifier_version=1,
)  # fmt: skip
WIDE = replace(SURE, domain="wide", ci_low=0.5, ci_high=1.0)
POOR = replace(SURE, domain="poor", accuracy=0.4, ci_low=0.3, ci_high=0.5)
UNKNOWN = replace(
    SURE, domain="unknown", status="insufficient_data", status_reason="no prediction", accuracy=None, ci_low=None,
    ci_high=None, n_labels=0,
)  # fmt: skip


def rank(estimates: Sequence[Estimate], targets: Mapping[str, float], default_target: float) -> tuple[Priority, ...]:
    """Rank series whose windows hold all of their traffic."""
    return acquisition.rank(estimates, [estimate.n_events for estimate in estimates], targets, default_target)


def order(*estimates: Estimate) -> list[str]:
    return [row.domain for row in rank(estimates, {}, 0.8)]


def test_a_domain_without_an_estimate_comes_before_a_wide_interval_before_a_poor_one_before_a_good_one() -> None:
    assert order(SURE, POOR, WIDE, UNKNOWN) == ["unknown", "wide", "poor", "sure"]


def test_of_two_domains_alike_the_one_with_more_traffic_comes_first() -> None:
    assert order(WIDE, replace(WIDE, domain="busy", n_events=1000))[0] == "busy"


def responses(domain: str, n: int, start: float) -> Iterator[Generation]:
    """Responses of one domain, as many as this, spread over a minute from ``start``."""
    for i in range(n):
        tokens = signal(np.random.default_rng(i), 8)
        yield Generation(f"{domain}-{start:.0f}-{i}", start + i * 60 / n, domain, Context(model="m"), tokens)


def newest_acquisition(events: list[Event], settings: PipelineSettings = SETTINGS) -> Acquisition:
    with MemoryStore().transaction() as memory:
        outputs = Pipeline(settings).step(sorted(events, key=lambda event: getattr(event, "event_time", 0.0)), memory)
    return [output for output in outputs if isinstance(output, Acquisition)][-1]


def shares(acquisition: Acquisition) -> dict[str, float]:
    return {row.domain: row.traffic_share for row in acquisition.priorities}


def test_traffic_shares_are_the_shares_of_the_responses_in_the_newest_windows() -> None:
    minute: list[Event] = [*responses("math", 45, START), *responses("law", 15, START)]
    acquisition = newest_acquisition([*minute, Tick(START + 100)])
    assert shares(acquisition) == {"math": 0.75, "law": 0.25}
    assert [row.n_events for row in acquisition.priorities] == [45, 15]


def test_responses_that_a_window_is_too_small_to_hold_count_as_traffic() -> None:
    settings = replace(SETTINGS, windows=replace(SETTINGS.windows, window_events=20))
    minute: list[Event] = [*responses("math", 90, START), *responses("law", 10, START)]
    newest = newest_acquisition([*minute, Tick(START + 100)], settings)
    assert shares(newest) == {"math": 0.9, "law": 0.1}
    assert [row.n_events for row in newest.priorities] == [20, 10]


def test_a_response_that_comes_twice_is_one_response_of_the_traffic() -> None:
    minute: list[Event] = [*responses("math", 30, START), *responses("law", 30, START), *responses("law", 30, START)]
    assert shares(newest_acquisition([*minute, Tick(START + 100)])) == {"math": 0.5, "law": 0.5}


def test_traffic_that_left_the_window_no_longer_counts() -> None:
    later = START + SETTINGS.windows.window_s + 60
    first: list[Event] = [*responses("math", 45, START), *responses("law", 15, START)]
    second: list[Event] = [*responses("math", 10, later), *responses("law", 40, later)]
    assert shares(newest_acquisition([*first, *second, Tick(later + 100)])) == pytest.approx({"law": 0.8, "math": 0.2})


def test_a_domain_has_its_own_target() -> None:
    easy = rank([POOR, WIDE], {"poor": 0.2}, 0.8)
    assert [row.domain for row in easy] == ["wide", "poor"]
    assert "0.20" in easy[1].why


def test_every_row_has_a_reason_and_the_traffic_shares_sum_to_1() -> None:
    rows = rank([SURE, POOR, UNKNOWN], {}, 0.8)
    assert abs(sum(row.traffic_share for row in rows) - 1) < 1e-12
    assert all("of traffic" in row.why for row in rows)
    assert [row.rank for row in rows] == [1, 2, 3]
    assert rank([], {}, 0.8) == ()


def test_ties_are_broken_by_domain_and_fingerprint_whatever_the_order_of_the_estimates() -> None:
    twins = [replace(POOR, domain="b"), replace(POOR, domain="a", fingerprint="g"), replace(POOR, domain="a")]
    rows = rank(twins, {}, 0.8)
    assert rows == rank(twins[::-1], {}, 0.8)
    assert [(row.domain, row.fingerprint) for row in rows] == [("a", "f"), ("a", "g"), ("b", "f")]


def test_a_domain_without_traffic_comes_last_and_alone_has_priority_0() -> None:
    silent = replace(UNKNOWN, domain="silent", status="no_data", status_reason="no usable response", n_events=0)
    assert order(silent, SURE)[-1] == "silent"
    [row] = rank([silent], {}, 0.8)
    assert (row.priority, row.traffic_share) == (0.0, 0.0)
    assert "no usable response" in row.why


def test_a_domain_far_above_its_target_still_has_some_priority() -> None:
    [row] = rank([replace(SURE, accuracy=1.0, ci_low=1.0, ci_high=1.0)], {}, 0.5)
    assert row.priority > 0


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
