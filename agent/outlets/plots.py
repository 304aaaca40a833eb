"""Charts of measurements: a value against a number, and estimates against the truth. Pure: numbers in, SVG out.

They have the style of `charts`. A chart is as large as its values: the caller bounds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from driftgauge.agent.outlets.canvas import Scale, label, line, path, picture, value_axis
from driftgauge.agent.outlets.markup import Markup, element, number
from driftgauge.agent.outlets.phrases import ratio


class Estimated(NamedTuple):
    """The true accuracy of a domain, and the middle and the ends of what was estimated for it, all in [0, 1]."""

    name: str
    truth: float
    middle: float
    low: float
    high: float


def trend(
    title: str,
    points: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    extent: tuple[float, float],
    axis: str,
) -> Markup:
    """A value against a number, with another one to compare it with as a dashed line.

    Parameters
    ----------
    points, reference : (number, value), by number
    extent : the smallest and the largest value of the axis
    axis : what the numbers are
    """
    numbers = [at for at, _ in (*points, *reference)]
    x, y = Scale(min(numbers, default=0.0), max(numbers, default=1.0), 38.0, 308.0), Scale(*extent, 100.0, 10.0)
    dashed = [line("target", x.at(a), y.at(v), x.at(b), y.at(w)) for (a, v), (b, w) in pairwise(reference)]
    positions = [(x.at(at), y.at(value)) for at, value in points]
    text = "; ".join(f"{number(at)}: {ratio(value)}" for at, value in points)
    return picture(
        320.0, 130.0, title, f"{text or 'No values'}.",
        *value_axis(y, 34.0, 312.0), *dashed,
        *([element("path", d=f"M{path(positions)}", class_="value")] if len(positions) > 1 else []),
        *(element("circle", cx=at, cy=value, r=2.5, class_="dot") for at, value in positions if len(positions) < 20),
        *(label(x.at(at), 113.0, number(at), "middle") for at in _apart(numbers, x)),
        label(173.0, 127.0, axis, "middle"),
    )  # fmt: skip


def estimates(title: str, found: Sequence[Estimated], bottom: float) -> Markup:
    """Estimates against the truth; on the dashed line they are right."""
    x, y = Scale(bottom, 1.0, 38.0, 308.0), Scale(bottom, 1.0, 260.0, 10.0)
    marks: list[Markup] = []
    for one in found:
        at = x.at(one.truth)
        marks += [
            line("value", at, y.at(one.low), at, y.at(one.high)),
            element("circle", element("title", one.name), cx=at, cy=y.at(one.middle), r=3.5, class_="dot"),
        ]
    text = "; ".join(f"{one.name}: true {ratio(one.truth)}, estimated {ratio(one.middle)}" for one in found)
    return picture(
        320.0, 292.0, title, f"{text or 'No estimates'}.",
        *value_axis(y, 34.0, 312.0), line("target", x.start, y.start, x.end, y.end), *marks,
        label(x.start, 275.0, ratio(bottom), "middle"), label(x.end, 275.0, ratio(1.0), "middle"),
        label(173.0, 289.0, "true accuracy", "middle"),
    )  # fmt: skip


def _apart(numbers: Sequence[float], x: Scale) -> list[float]:
    """The numbers whose labels do not touch, the smallest and the largest first."""
    shown: list[float] = []
    for at in sorted(set(numbers), key=lambda at: (at not in (x.low, x.high), at)):
        if all(abs(x.at(at) - x.at(other)) >= 24 for other in shown):
            shown.append(at)
    return sorted(shown)
