"""The parts that charts are made of: scales, lines, labels and axes as plain SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from driftgauge.agent.outlets.markup import Markup, element, number
from driftgauge.agent.outlets.phrases import ratio


class Scale(NamedTuple):
    """Values from ``low`` to ``high`` as positions from ``start`` to ``end``; what lies outside is at the edge."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The position of a value.

        >>> Scale(0.5, 1.0, 0.0, 100.0).at(0.75)
        50.0
        """
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def picture(width: float, height: float, title: str, description: str, *content: Markup) -> Markup:
    """A picture with a title and a description, for those who do not see it."""
    box = f"0 0 {number(width)} {number(height)}"
    heading = element("title", title), element("desc", description)
    return element("svg", *heading, *content, viewBox=box, role="img", class_="chart")


def value_axis(y: Scale, left: float, right: float) -> Iterator[Markup]:
    """Lines and numbers at the ends and in the middle of an axis of shares."""
    for value in (y.low, (y.low + y.high) / 2, y.high):
        yield line("grid", left, y.at(value), right, y.at(value))
        yield label(left - 4, y.at(value) + 3.5, ratio(value), "end")


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line of some kind, which the style of charts knows."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def label(x: float, y: float, text: str, anchor: str | None = None) -> Markup:
    """Text at a position."""
    return element("text", text, x=x, y=y, text_anchor=anchor)


def path(positions: Iterable[tuple[float, float]]) -> str:
    """Positions as the attribute ``d`` of a path."""
    return "L".join(f"{number(x)} {number(y)}" for x, y in positions)
