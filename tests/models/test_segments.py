"""Segments of domains, and the search for weak ones: what is compared, what is found, how often it is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from driftgauge.models.series import SeriesKey
from driftgauge.models.slices.grouping import OTHER, SlicePlan, slice_name, slices_of
from driftgauge.models.slices.scan import Weak, weak_segments
from driftgauge.models.slices.segments import Segments, largest, segments_of

SERIES = SeriesKey("law", "f")
carried = st.lists(
    st.dictionaries(st.sampled_from(["language", "route", "tenant"]), st.sampled_from(["", "a", "b"])), max_size=25
)


def named(values: Mapping[str, str]) -> set[str]:
    """The segments of one response: each name, and each pair of names."""
    singles, pairs = itertools.combinations(sorted(values), 1), itertools.combinations(sorted(values), 2)
    return {slice_name(names, [values[name] for name in names]) for names in [*singles, *pairs]}


@given(rows=carried, least=st.integers(1, 5))
def test_segments_are_the_large_ones_of_names_and_pairs_each_set_of_responses_once(
    rows: Sequence[Mapping[str, str]], least: int
) -> None:
    n = len(rows)
    made = segments_of(SERIES, np.ones(n), np.ones(n), rows, least)
    expected: dict[str, tuple[bool, ...]] = {}
    for name in sorted({name for values in rows for name in named(values)}):
        expected[name] = tuple(name in named(values) for values in rows)
    large = {name: inside for name, inside in expected.items() if least <= sum(inside) <= n - least}
    found = dict(zip(made.names, map(tuple, made.inside.T.tolist()), strict=True))
    assert {*found.values()} == {*large.values()}
    assert len({*found.values()}) == len(found)
    assert {name: large[name] for name in found} == found


@given(rows=carried, most=st.integers(1, 4), least=st.integers(1, 3), estimates=st.integers(1, 6))
def test_slices_to_estimate_are_bounded_and_hold_the_responses_that_carry_their_names(
    rows: Sequence[Mapping[str, str]], most: int, least: int, estimates: int
) -> None:
    plan = SlicePlan((("language",), ("language", "tenant")), max_values=most, max_estimates=estimates)
    found, n_left_out = slices_of(rows, plan, least)
    assert len(found) <= estimates
    assert n_left_out == 0 or len(found) == estimates
    for name, at in found.items():
        assert len(at) >= least
        if OTHER not in name:
            assert at.tolist() == [i for i, values in enumerate(rows) if name in named(values)]
    everything, _ = slices_of(rows, SlicePlan((("language",),), max_values=most, max_estimates=100), 1)
    members = np.concatenate([np.empty(0, dtype=np.intp), *everything.values()])
    assert sorted(members.tolist()) == [i for i, values in enumerate(rows) if "language" in values]


def test_only_the_largest_segments_are_compared() -> None:
    rows = [{"language": "abcd"[min(i % 7, 3)]} for i in range(70)]
    group = segments_of(SERIES, np.ones(70), np.ones(70), rows, 5)
    (kept,) = largest([group, segments_of(SERIES, np.ones(70), np.ones(70), [{}] * 70, 5)], 1)
    assert kept.names == ("language=d",)
    assert kept.inside.sum() == 40


def world(seed: int, *, fall: float = 0.0, unequal: bool = False, n: int = 250) -> list[Segments]:
    """Three domains with slices at random; in the first, the language 0 loses ``fall`` of its right labels."""
    draw = np.random.default_rng([seed, unequal])
    groups = []
    for domain, accuracy in enumerate((0.9, 0.7, 0.4)):
        language, tenant = draw.integers(0, 4, n), draw.integers(0, 6, n)
        right = draw.random(n) < accuracy
        weight = np.where(draw.random(n) < np.where(right, 0.3, 0.6), 1.0, 2.5) if unequal else np.ones(n)
        if domain == 0:
            right &= (language != 0) | (draw.random(n) >= fall)
        rows = [{"language": str(a), "tenant": str(b)} for a, b in zip(language, tenant, strict=True)]
        groups.append(segments_of(SeriesKey(f"d{domain}", "f"), right.astype(np.float64), weight, rows, 20))
    return largest(groups)


RUNS = 60


@pytest.mark.parametrize("unequal", [False, True])
def test_a_search_lists_a_false_segment_no_more_often_than_promised(unequal: bool) -> None:
    false = sum(bool(weak_segments(world(seed, unequal=unequal), 0.1, 20, seed)) for seed in range(RUNS))
    assert false <= binom.ppf(0.999, RUNS, 0.1)


def test_a_planted_segment_is_found_and_those_within_it_are_not_listed_beside_it() -> None:
    found = [weak_segments(world(seed, fall=0.5), 0.01, 20, seed) for seed in range(20)]
    names = [(weak.series.domain, weak.series.slice) for listed in found for weak in listed]
    assert names.count(("d0", "language=0")) >= 19
    assert len(names) - names.count(("d0", "language=0")) <= 1


def planted(inside: np.typing.NDArray[np.bool_], rows: Sequence[Mapping[str, str]]) -> list[Weak]:
    value = np.where(inside, np.arange(len(rows)) % 5 == 0, np.arange(len(rows)) % 10 > 0).astype(np.float64)
    return weak_segments([segments_of(SERIES, value, np.ones(len(rows)), rows, 20)], 0.01, 20, 0)


def test_a_weak_pair_is_listed_without_the_two_names_that_are_weak_through_it() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 3, 600), draw.integers(0, 3, 600)
    rows = [{"language": str(i), "tenant": str(j)} for i, j in zip(a, b, strict=True)]
    (weak,) = planted((a == 0) & (b == 0), rows)
    assert weak.series == SeriesKey("law", "f", "language=0,tenant=0")
    assert weak.n == int(((a == 0) & (b == 0)).sum())


def test_two_segments_that_are_weak_apart_are_both_listed() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.integers(0, 4, 800), draw.integers(0, 4, 800)
    rows = [{"language": str(i), "tenant": str(j)} for i, j in zip(a, b, strict=True)]
    assert {weak.series.slice for weak in planted((a == 0) | (b == 1), rows)} == {"language=0", "tenant=1"}


def test_weights_decide_what_a_label_stands_for() -> None:
    """Wrong labels that were drawn three times as often as right ones do not make a segment weak."""
    language = np.repeat([0, 1], 200)
    right = np.concatenate([np.repeat([1.0, 0.0], [100, 100]), np.repeat([1.0, 0.0], [150, 50])])
    weight = np.where((language == 0) & (right == 1), 3.0, 1.0)
    rows = [{"language": str(i)} for i in language]
    assert weak_segments([segments_of(SERIES, right, np.ones(400), rows, 20)], 0.01, 20, 0)
    assert not weak_segments([segments_of(SERIES, right, weight, rows, 20)], 0.01, 20, 0)


def test_the_same_labels_give_the_same_list() -> None:
    assert weak_segments(world(3, fall=0.4), 0.05, 20, 7) == weak_segments(world(3, fall=0.4), 0.05, 20, 7)
