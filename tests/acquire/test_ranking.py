"""The order of the data list and the probabilities it states, on estimates written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.models.acquire.ranking import DRAWS, TOP, Candidate, rank
from driftgauge.models.outputs import Estimate, Priority

SURE = Estimate(
    domain="sure", fingerprint="f", model="m", window_start=0, window_end=1, watermark=1, revision=1, status="ok",
    status_reason=None, accuracy=0.9, ci_low=0.88, ci_high=0.92, confidence_level=0.9, estimator="e", n_events=100,
    n_labels=50, effective_sample_size=50, accuracy_labelled=0.9, classifier_version=1,
)  # fmt: skip
POOR = replace(SURE, domain="poor", accuracy=0.4, ci_low=0.3, ci_high=0.5)
MIDDLE = replace(SURE, domain="middle", accuracy=0.6, ci_low=0.1, ci_high=0.9)
UNKNOWN = replace(
    SURE, domain="unknown", status="insufficient_data", status_reason="no prediction", accuracy=None, ci_low=None,
    ci_high=None, n_labels=0,
)  # fmt: skip

NOISE = 3 * 0.5 / DRAWS**0.5  # of a share of the draws: three standard errors at most


def candidate(estimate: Estimate, traffic: int = 100, target: float = 0.8, **more: Any) -> Candidate:
    return Candidate(estimate, traffic, target, **more)


def of(*estimates: Estimate) -> list[Candidate]:
    """Candidates with the same traffic and target."""
    return [candidate(estimate) for estimate in estimates]


def alike(n: int, **changed: Any) -> list[Candidate]:
    return of(*(replace(POOR, domain=f"d{i:03}", **changed) for i in range(n)))


def order(rows: Sequence[Priority]) -> list[str]:
    return [row.domain for row in rows]


def test_the_value_is_traffic_share_times_what_lacks_to_the_target_and_the_highest_value_comes_first() -> None:
    rows = rank([candidate(SURE, 600), candidate(POOR, 100), candidate(MIDDLE, 300)], seed=0)
    assert order(rows) == ["middle", "poor", "sure"]
    assert [row.value for row in rows] == pytest.approx([0.3 * 0.2, 0.1 * 0.4, -0.6 * 0.1])
    assert [row.rank for row in rows] == [1, 2, 3]


def test_the_width_of_an_interval_does_not_change_the_order() -> None:
    wide = replace(POOR, domain="wide", accuracy=0.41, ci_low=0.01, ci_high=0.99)
    assert order(rank(of(wide, POOR), seed=0)) == ["poor", "wide"]


def test_domains_without_an_estimate_come_last_by_traffic_and_their_reason_says_so() -> None:
    busy = replace(UNKNOWN, domain="busy")
    rows = rank([candidate(UNKNOWN, 10), candidate(SURE, 1), candidate(busy, 1_000)], seed=0)
    assert order(rows) == ["sure", "busy", "unknown"]
    for row in rows[1:]:
        assert (row.value, row.accuracy, row.trend, row.p_top3) == (None, None, None, None)
        assert row.why.endswith("of traffic, no estimate yet: no prediction")


def test_a_domain_has_its_own_target() -> None:
    rows = rank([candidate(POOR, target=0.2), candidate(MIDDLE)], seed=0)
    assert order(rows) == ["middle", "poor"]
    assert [row.target for row in rows] == [0.8, 0.2]
    assert "nothing to gain" in rows[1].why
    assert "target of 0.20" in rows[1].why


def test_a_row_says_how_the_estimate_moved_where_the_one_before_is_known() -> None:
    moved, still, lost = rank(
        [candidate(POOR, 300, accuracy_before=0.55), candidate(MIDDLE), candidate(UNKNOWN, accuracy_before=0.9)], seed=0
    )
    assert moved.trend == pytest.approx(-0.15)
    assert "-0.15 since the period before" in moved.why
    assert (still.trend, lost.trend) == (None, None)
    assert "period before" not in still.why


def test_a_new_domain_is_marked() -> None:
    new, known = rank([candidate(POOR, is_new=True), candidate(MIDDLE)], seed=0)
    assert (new.is_new, known.is_new) == (True, False)
    assert "new in this period" in new.why


def test_ties_are_broken_by_domain_and_fingerprint_whatever_the_order_of_the_candidates() -> None:
    twins = of(replace(POOR, domain="b"), replace(POOR, domain="a", fingerprint="g"), replace(POOR, domain="a"))
    rows = rank(twins, seed=0)
    assert rows == rank(twins[::-1], seed=0)
    assert [(row.domain, row.fingerprint) for row in rows] == [("a", "f"), ("a", "g"), ("b", "f")]


def test_nothing_and_no_traffic_can_be_ranked() -> None:
    assert rank([], seed=0) == ()
    (row,) = rank([candidate(UNKNOWN, 0)], seed=0)
    assert (row.traffic_share, row.p_top3) == (0.0, None)
    assert rank([candidate(POOR, 0)], seed=0)[0].value == 0


def test_of_domains_alike_each_is_as_likely_to_be_among_the_first_three() -> None:
    rows = rank(alike(12), seed=0)
    assert [row.p_top3 for row in rows] == pytest.approx([TOP / 12] * 12, abs=NOISE)
    assert sum(row.p_top3 or 0 for row in rows) == pytest.approx(TOP)


@pytest.mark.parametrize(
    ("interval", "confidence_level", "probability"),
    [
        ((0.3, 0.4, 0.5), 0.9, 0.5),
        ((0.4, 0.45, 0.99), 0.9, 0.05),  # one draw in twenty lies below the lower end
        ((0.4, 0.45, 0.46), 0.5, 0.25),
        ((0.34, 0.35, 0.4), 0.9, 0.95),
        ((0.01, 0.35, 0.4), 0.5, 0.75),
    ],
)
def test_the_probability_of_being_better_than_three_known_domains_is_that_of_the_interval(
    interval: tuple[float, float, float], confidence_level: float, probability: float
) -> None:
    known = [replace(POOR, domain=domain, ci_low=0.4, ci_high=0.4) for domain in "xyz"]
    low, accuracy, high = interval
    tossed = replace(
        POOR, domain="tossed", accuracy=accuracy, ci_low=low, ci_high=high, confidence_level=confidence_level
    )
    found = {row.domain: row.p_top3 for row in rank(of(tossed, *known), seed=0)}
    assert found["tossed"] == pytest.approx(probability, abs=NOISE)


def test_without_counting_labels_the_probability_stays_between_5_and_90_percent() -> None:
    good, bad = (replace(POOR, accuracy=a, ci_low=a - 0.01, ci_high=a + 0.01, n_labels=0) for a in (0.9, 0.2))
    unlabelled = [replace(good, domain=f"good{i}") for i in range(5)] + [replace(bad, domain=f"bad{i}") for i in "012"]
    assert [row.p_top3 for row in rank(of(*unlabelled), seed=0)] == [0.9] * 3 + [0.05] * 5
    labelled = [replace(estimate, n_labels=1) for estimate in unlabelled]
    assert [row.p_top3 for row in rank(of(*labelled), seed=0)] == [1.0] * 3 + [0.0] * 5


def test_among_many_unlabelled_domains_none_is_stated_to_be_likelier_than_chance() -> None:
    good = [candidate(replace(SURE, domain=f"good{i:03}", n_labels=0)) for i in range(300)]
    bad = [candidate(replace(POOR, domain=f"bad{i}")) for i in range(3)]
    assert {row.p_top3 for row in rank([*good, *bad], seed=0)[3:]} == {TOP / 303}


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 50), st.integers(0, 2), st.floats(0, 1)
        ),
        max_size=8,
    )
)
def test_laws_of_every_list(drawn: list[tuple[float, float, float, int, int, float]]) -> None:
    candidates = []
    for i, (*interval, traffic, n_labels, target) in enumerate(drawn):
        low, accuracy, high = sorted(interval)
        found = replace(SURE, domain=f"d{i}", accuracy=accuracy, ci_low=low, ci_high=high, n_labels=n_labels)
        candidates.append(candidate(found, traffic, target))
    rows = rank(candidates, seed=1)
    assert rows == rank(candidates[::-1], seed=1)
    values = [row.value for row in rows if row.value is not None]
    assert values == sorted(values, reverse=True)
    assert sum(row.traffic_share for row in rows) == pytest.approx(1.0 if any(c.traffic for c in candidates) else 0.0)
    for row in rows:
        assert row.p_top3 is not None
        assert 0 <= row.p_top3 <= 1
        assert row.n_labels or 0.05 <= row.p_top3 <= 0.9
        assert np.isfinite(row.p_top3)
