"""A page of HTML that needs nothing else: no script, no other file, readable on paper. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from driftgauge.agent.outlets import charts
from driftgauge.agent.outlets.markup import Markup, element
from driftgauge.agent.outlets.report_style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CLASSES = {"t": None, "v": "verdict", "p": "picture", "n": "n", "w": "why"}


def page(title: str, *content: str) -> str:
    """The whole page with its title as the first heading."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Markup(STYLE + charts.STYLE)),
    )
    body = element("body", element("main", element("h1", title), *content))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def table(name: str, headings: Sequence[str], rows: Sequence[Sequence[str]], kinds: str) -> Markup:
    """A table that scrolls sideways on a narrow screen.

    Parameters
    ----------
    name : for screen readers
    kinds : a letter for each column: t text, w long text, v verdict, p picture, n number
    """
    classes = [_CLASSES[kind] for kind in kinds]
    head = (element("th", text, scope="col", class_=kind) for text, kind in zip(headings, classes, strict=True))
    body = (
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", text, class_=kind) for text, kind in zip(row[1:], classes[1:], strict=True)),
        )
        for row in rows
    )
    inner = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", inner, class_="scroll", role="region", tabindex="0", aria_label=name)
