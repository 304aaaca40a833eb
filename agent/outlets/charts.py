"""Small charts as plain SVG, for pages without scripts and files of others. Pure: numbers and titles in, text out.

Colours come from the custom properties of the page (`STYLE` has the rules); meaning never rests on colour alone. An
unknown value is a gap, which is shaded or dashed: it cannot be taken for zero. A chart is as large as its values: the
caller bounds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from driftgauge.agent.outlets.canvas import Scale, label, line, path, picture, value_axis
from driftgauge.agent.outlets.markup import Markup, element
from driftgauge.agent.outlets.phrases import ratio
from driftgauge.models.classify.reliability import N_BINS, ReliabilityBin

STYLE = """
svg.chart{display:block;width:100%;height:auto;font:10px system-ui,sans-serif;fill:var(--muted)}
svg.chart .grid{stroke:var(--line);stroke-width:1;fill:none}
svg.chart .band{fill:var(--value);opacity:.22}
svg.chart .value{stroke:var(--value);stroke-width:2;fill:none}
svg.chart .dot{fill:var(--value);stroke:var(--value);stroke-width:1.5}
svg.chart .dot.below{fill:var(--bad);stroke:var(--bad)}
svg.chart .dot.unclear{fill:var(--paper)}
svg.chart .target{stroke:var(--target);stroke-width:1.5;stroke-dasharray:5 3;fill:none}
svg.chart .tick{stroke:var(--target);stroke-width:2}
svg.chart .gap{fill:var(--line);opacity:.6}
svg.chart .unknown{stroke:var(--muted);stroke-width:1.5;stroke-dasharray:1 4;fill:none}
svg.chart .bar{fill:var(--value)}
svg.chart .bar.none{fill:var(--muted);opacity:.6}
svg.chart .number{fill:var(--ink)}
"""

_ROW_WIDTH, _ROW_HEIGHT, _ROW_MARGIN = 180.0, 20.0, 6.0
_MAX_STEPS = 3.0
"""Two values further apart than this many usual steps have a gap between them."""


class Point(NamedTuple):
    """A value in [0, 1] with its interval at a time; all three are None where it is unknown."""

    at: float
    value: float | None
    low: float | None
    high: float | None


class Span(NamedTuple):
    """Two times, and what is written below them."""

    start: float
    end: float
    first: str
    last: str


def lowest(values: Iterable[float | None]) -> float:
    """Where the axis of some shares begins: the tenth below the smallest, so that several charts have one axis.

    >>> lowest([0.75, None, 0.9]), lowest([1.0]), lowest([])
    (0.7, 0.9, 0.0)
    """
    known = [value for value in values if value is not None]
    return min(max(math.floor(min(known) * 10) / 10, 0.0), 0.9) if known else 0.0


def over_time(title: str, points: Sequence[Point], target: float, bottom: float, span: Span) -> Markup:
    """A line with the band of its interval and the target, over time.

    Parameters
    ----------
    points : by time
    target, bottom : the target, and where the axis begins, in [0, 1]
    span : the axis of time
    """
    x, y = Scale(span.start, span.end, 34.0, 312.0), Scale(bottom, 1.0, 106.0, 10.0)
    segments = list(_segments(points))
    known = [point for segment in segments for point in segment]
    n_unknown = sum(point.value is None for point in points)
    text = f"{len(known)} values"
    if known:
        text += f" from {ratio(known[0].value)} to {ratio(known[-1].value)}; target {ratio(target)}"
    if n_unknown:
        text += f"; {n_unknown} unknown"
    return picture(
        320.0, 124.0, title, f"{text}.",
        *(_gap(x, y, *span) for span in _gaps(points, segments)),
        *value_axis(y, 34.0, 312.0),
        line("target", 34.0, y.at(target), 312.0, y.at(target)),
        *(mark for segment in segments for mark in _segment(x, y, segment)),
        *([] if known else [label(173.0, 62.0, "no estimate", "middle")]),
        label(34.0, 120.0, span.first), label(312.0, 120.0, span.last, "end"),
    )  # fmt: skip


def interval_row(title: str, value: Point, target: float, bottom: float) -> Markup:
    """One value with its interval and the target (a tick), to stand in a row of a table.

    A diamond is below the target, a ring is unclear (the target lies inside the interval), a dot meets the target.
    """
    x = Scale(bottom, 1.0, _ROW_MARGIN, _ROW_WIDTH - _ROW_MARGIN)
    middle, tick = _ROW_HEIGHT / 2, line("tick", x.at(target), 3.0, x.at(target), _ROW_HEIGHT - 3.0)
    if value.value is None or value.low is None or value.high is None:
        dashed = line("unknown", x.start, middle, x.end, middle)
        return picture(_ROW_WIDTH, _ROW_HEIGHT, title, f"Unknown; target {ratio(target)}.", dashed, tick)
    text = f"{ratio(value.value)}, interval {ratio(value.low)} to {ratio(value.high)}; target {ratio(target)}."
    return picture(
        _ROW_WIDTH, _ROW_HEIGHT, title, text,
        line("grid", x.start, middle, x.end, middle), tick,
        line("value", x.at(value.low), middle, x.at(value.high), middle),
        _mark(x.at(value.value), middle, value, target),
    )  # fmt: skip


def interval_axis(bottom: float) -> Markup:
    """The axis of some rows that `interval_row` made."""
    x = Scale(bottom, 1.0, _ROW_MARGIN, _ROW_WIDTH - _ROW_MARGIN)
    ends = label(x.start, 10.0, ratio(bottom)), label(x.end, 10.0, ratio(1.0), "end")
    return picture(_ROW_WIDTH, 14.0, "Axis", f"From {ratio(bottom)} to 1.", *ends)


def bar_row(title: str, value: float | None, extent: tuple[float, float]) -> Markup:
    """One bar from zero, to stand in a row of a table; to the left where negative.

    Parameters
    ----------
    extent : the smallest and the largest value of all rows
    """
    x = Scale(min(extent[0], 0.0), max(extent[1], 0.0), _ROW_MARGIN, _ROW_WIDTH - _ROW_MARGIN)
    zero, middle = x.at(0.0), _ROW_HEIGHT / 2
    if value is None:
        return picture(_ROW_WIDTH, _ROW_HEIGHT, title, "Unknown.", line("unknown", x.start, middle, x.end, middle))
    ends = sorted((zero, x.at(value)))
    bar = element(
        "rect", x=ends[0], y=4, width=max(ends[1] - ends[0], 1.0), height=12, class_="bar" if value > 0 else "bar none"
    )
    return picture(_ROW_WIDTH, _ROW_HEIGHT, title, f"{value:.4f}", bar, line("grid", zero, 0.0, zero, _ROW_HEIGHT))


def reliability(title: str, bins: Sequence[ReliabilityBin], counted: str = "labels") -> Markup:
    """Predicted against observed shares with intervals, and below it how many labels (or others) are behind each."""
    x, y = Scale(0.0, 1.0, 34.0, 312.0), Scale(0.0, 1.0, 230.0, 10.0)
    most = max((found.n for found in bins), default=1)
    marks: list[Markup] = []
    for found in bins:
        at, width = x.at(found.predicted), (x.end - x.start) / N_BINS
        left = x.at(min(int(found.predicted * N_BINS), N_BINS - 1) / N_BINS)
        height = max(24.0 * found.n / most, 1.0)
        marks += [
            line("value", at, y.at(found.ci_low), at, y.at(found.ci_high)),
            element("circle", cx=at, cy=y.at(found.observed), r=3.5, class_="dot"),
            element("rect", x=left + 2, y=282 - height, width=width - 4, height=height, class_="bar none"),
            label(left + width / 2, 294.0, _short(found.n), "middle"),
        ]
    text = "; ".join(f"predicted {ratio(b.predicted)}, right {ratio(b.observed)} of {b.n} {counted}" for b in bins)
    return picture(
        320.0, 312.0, title, f"{text or f'No {counted}'}.",
        *value_axis(y, 34.0, 312.0),
        line("target", x.start, y.start, x.end, y.end),
        label(x.start, 246.0, "0"), label((x.start + x.end) / 2, 246.0, "predicted", "middle"),
        label(x.end, 246.0, "1", "end"),
        *marks,
        label((x.start + x.end) / 2, 308.0, f"{counted} in each tenth", "middle"),
    )  # fmt: skip


def _segments(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Runs of known points without a gap."""
    step = median(b.at - a.at for a, b in pairwise(points)) if len(points) > 1 else 0.0
    run: list[Point] = []
    for point in points:
        if run and (point.value is None or point.at - run[-1].at > _MAX_STEPS * step):
            yield run
            run = []
        if point.value is not None:
            run.append(point)
    if run:
        yield run


def _gaps(points: Sequence[Point], segments: Sequence[Sequence[Point]]) -> Iterator[tuple[float, float]]:
    """Spans of time without a known value."""
    if points:
        known = [(segment[0].at, segment[-1].at) for segment in segments]
        edges = [(points[0].at, points[0].at), *known, (points[-1].at, points[-1].at)]
        yield from ((a, b) for (_, a), (b, _) in pairwise(edges) if b > a)


def _segment(x: Scale, y: Scale, run: Sequence[Point]) -> Iterator[Markup]:
    """The band and the line of a run of known points; the last point of it as a dot."""
    high = [(x.at(p.at), y.at(p.high)) for p in run if p.high is not None]
    low = [(x.at(p.at), y.at(p.low)) for p in run if p.low is not None]
    values = [(x.at(p.at), y.at(p.value)) for p in run if p.value is not None]
    if len(run) == 1:
        yield from (line("value", *a, *b) for a, b in zip(low, high, strict=True))
    else:
        yield element("path", d=f"M{path([*high, *reversed(low)])}Z", class_="band")
        yield element("path", d=f"M{path(values)}", class_="value")
    yield element("circle", cx=values[-1][0], cy=values[-1][1], r=3, class_="dot")


def _gap(x: Scale, y: Scale, start: float, end: float) -> Markup:
    return element("rect", x=x.at(start), y=y.end, width=x.at(end) - x.at(start), height=y.start - y.end, class_="gap")


def _mark(x: float, y: float, value: Point, target: float) -> Markup:
    if value.high is not None and value.high < target:
        return element("path", d=f"M{path([(x - 6, y), (x, y - 6), (x + 6, y), (x, y + 6)])}Z", class_="dot below")
    is_unclear = value.low is not None and value.low < target
    return element("circle", cx=x, cy=y, r=4.5, class_="dot unclear" if is_unclear else "dot")


def _short(n: int) -> str:
    """A count in at most four characters or so."""
    return f"{n}" if n < 1_000 else f"{n / 1_000:.1f}k" if n < 10_000 else f"{n // 1_000:,}k"
