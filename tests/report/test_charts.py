"""Charts: numbers become positions inside the picture, and what is unknown is not drawn as a number."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.outlets.charts import Point, Span, bar_row, interval_row, lowest, over_time, reliability
from driftgauge.models.classify.reliability import reliability_bin, share_interval

SPAN = Span(0.0, 10.0, "first", "last")
shares = st.floats(0, 1)


@st.composite
def points(draw: st.DrawFn) -> list[Point]:
    times = sorted(draw(st.sets(st.floats(0, 10), max_size=20)))
    return [draw(st.one_of(st.just(Point(t, None, None, None)), intervals(t))) for t in times]


def intervals(at: float) -> st.SearchStrategy[Point]:
    return st.tuples(shares, shares, shares).map(sorted).map(lambda v: Point(at, v[1], v[0], v[2]))


def at(t: float, value: float | None = 0.7) -> Point:
    return Point(t, value, None if value is None else value - 0.1, None if value is None else value + 0.1)


def numbers(svg: str) -> list[float]:
    """Every position of a picture, from attributes and paths."""
    found = re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|width|height|d)="([^"]*)"', svg)
    return [float(n) for text in found for n in re.findall(r"-?[\d.]+|nan|inf", text)]


@given(points(), shares, st.floats(0, 0.9))
def test_everything_is_inside_the_picture(made: list[Point], target: float, bottom: float) -> None:
    for svg, width in (
        (over_time("law", made, target, bottom, SPAN), 320),
        *((interval_row("law", point, target, bottom), 180) for point in made),
    ):
        assert all(0 <= n <= width for n in numbers(svg))


@pytest.mark.parametrize(
    ("made", "lines", "gaps"),
    [
        ([at(t) for t in range(6)], 1, 0),
        ([at(t, None if t == 3 else 0.7) for t in range(6)], 2, 1),
        ([at(t, None if t < 2 else 0.7) for t in range(6)], 1, 1),
        ([at(t, None if t > 3 else 0.7) for t in range(6)], 1, 1),
        ([at(t) for t in (0, 1, 2, 3, 8, 9, 10)], 2, 1),
        ([at(t, None) for t in range(6)], 0, 1),
        ([], 0, 0),
    ],
)
def test_a_line_stops_where_values_are_unknown_or_missing(made: list[Point], lines: int, gaps: int) -> None:
    svg = over_time("law", made, 0.8, 0.0, SPAN)
    assert svg.count('class="value"') == lines
    assert svg.count('class="gap"') == gaps
    assert ("no estimate" in svg) == (lines == 0)


def test_an_unknown_value_in_a_row_has_no_mark_unlike_zero() -> None:
    zero, unknown = (interval_row("law", p, 0.8, 0.0) for p in (Point(0, 0.0, 0.0, 0.1), Point(0, None, None, None)))
    assert 'class="dot below"' in zero
    assert "dot" not in unknown
    assert "Unknown" in unknown
    assert "rect" in bar_row("law", 0.0, (0.0, 1.0))
    assert "rect" not in bar_row("law", None, (0.0, 1.0))


@pytest.mark.parametrize(
    ("low", "high", "mark"), [(0.6, 0.7, "dot below"), (0.7, 0.9, "dot unclear"), (0.85, 0.9, "dot")]
)
def test_the_mark_has_the_shape_of_the_verdict(low: float, high: float, mark: str) -> None:
    svg = interval_row("law", Point(0, (low + high) / 2, low, high), 0.8, 0.0)
    assert f'class="{mark}"' in svg
    assert ("<path" in svg) == (mark == "dot below")


def test_bars_start_at_zero_and_go_both_ways() -> None:
    lefts = [float(re.findall(r'<rect x="([\d.]+)"', bar_row("d", v, (-0.1, 0.1)))[0]) for v in (-0.1, 0.1)]
    assert lefts == [6.0, 90.0]


def test_a_reliability_plot_shows_how_many_labels_are_behind_each_point() -> None:
    bins = [reliability_bin(n, n, n, n * p, n * p) for n, p in ((7, 0.05), (1_234, 0.5), (56_789, 1.0))]
    svg = reliability("Predictions", bins)
    assert svg.count("<circle") == 3
    assert [text for text in ("7", "1.2k", "56k") if f">{text}</text>" not in svg] == []
    assert all(0 <= n <= 320 for n in numbers(svg))
    assert "No labels." in reliability("Predictions", [])


def test_weights_widen_the_interval_of_a_bin() -> None:
    even, uneven = reliability_bin(20, 20, 20, 10, 15), reliability_bin(20, 20, 80, 10, 15)
    assert even.observed == uneven.observed == 0.75
    assert uneven.ci_high - uneven.ci_low > 1.5 * (even.ci_high - even.ci_low)


@given(shares, st.floats(0.5, 1e6), st.floats(0.5, 0.999))
def test_the_interval_of_a_share_holds_the_share(share: float, n: float, level: float) -> None:
    low, high = share_interval(share, n, level)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


@given(st.lists(st.one_of(st.none(), shares)))
def test_the_axis_begins_at_or_below_every_value(values: list[float | None]) -> None:
    assert all(lowest(values) <= value for value in values if value is not None)
    assert lowest(values) < 1
