from __future__ import annotations

from dataclasses import replace

from driftgauge.models.acquisition import rank
from driftgauge.models.outputs import Estimate

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


def order(*estimates: Estimate) -> list[str]:
    return [row.domain for row in rank(estimates, {}, 0.8)]


def test_what_is_not_known_comes_before_what_is_poor_before_what_is_fine() -> None:
    assert order(SURE, POOR, WIDE, UNKNOWN) == ["unknown", "wide", "poor", "sure"]


def test_traffic_counts() -> None:
    assert order(WIDE, replace(WIDE, domain="busy", n_events=1000))[0] == "busy"


def test_a_domain_has_its_own_target() -> None:
    easy = rank([POOR, WIDE], {"poor": 0.2}, 0.8)
    assert [row.domain for row in easy] == ["wide", "poor"]
    assert "0.20" in easy[1].why


def test_every_row_says_why_and_shares_add_up() -> None:
    rows = rank([SURE, POOR, UNKNOWN], {}, 0.8)
    assert abs(sum(row.traffic_share for row in rows) - 1) < 1e-12
    assert all("of traffic" in row.why for row in rows)
    assert [row.rank for row in rows] == [1, 2, 3]
    assert rank([], {}, 0.8) == ()


def test_ties_are_broken_by_name_whatever_the_order_of_the_estimates() -> None:
    twins = [replace(POOR, domain="b"), replace(POOR, domain="a", fingerprint="g"), replace(POOR, domain="a")]
    rows = rank(twins, {}, 0.8)
    assert rows == rank(twins[::-1], {}, 0.8)
    assert [(row.domain, row.fingerprint) for row in rows] == [("a", "f"), ("a", "g"), ("b", "f")]


def test_a_domain_without_traffic_comes_last_and_divides_nothing() -> None:
    silent = replace(UNKNOWN, domain="silent", status="no_data", status_reason="no usable response", n_events=0)
    assert order(silent, SURE)[-1] == "silent"
    [row] = rank([silent], {}, 0.8)
    assert (row.priority, row.traffic_share) == (0.0, 0.0)
    assert "no usable response" in row.why


def test_a_domain_far_above_its_target_still_gets_looked_at() -> None:
    [row] = rank([replace(SURE, accuracy=1.0, ci_low=1.0, ci_high=1.0)], {}, 0.5)
    assert row.priority > 0
