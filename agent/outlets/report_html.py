"""A report as one HTML page with pictures: no script, no other file, readable on paper. Pure: a `Report` in, text out.

Every domain is in the page. The `MAX_PICTURES` worst ones have pictures, other lists end at `MAX_ROWS` rows, so that
1,000 domains stay below some megabytes; the JSON file is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from driftgauge.agent.outlets import charts
from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.markup import Markup, element
from driftgauge.agent.outlets.page import page, table
from driftgauge.agent.outlets.phrases import count, interval, ratio
from driftgauge.agent.outlets.report import Report
from driftgauge.agent.outlets.report_lists import SECTIONS, Section
from driftgauge.agent.outlets.report_words import (
    caveats,
    compared,
    first_steps,
    heading,
    headline,
    moment,
    titles,
    verdicts,
)
from driftgauge.models.outputs import Estimate

MAX_PICTURES = 50

_SIGNS = {"below target": "◆", "unclear": "○", "no estimate": "?", "meets target": "●"}


def to_html(report: Report) -> str:
    """The whole report."""
    pictures: list[Section] = [
        ("Domains", _domains),
        ("Over time", _over_time),
        ("Predictions and labels", _predictions),
    ]
    return page(
        heading(report),
        element("p", verdicts(report), class_="lead"),
        *(element("p", text, class_="urgent" if is_urgent else None) for text, is_urgent in headline(report)),
        element("h2", "What to do first"),
        element("ol", *(element("li", step) for step in first_steps(report)), class_="first"),
        *(part for title, content in (*pictures, *SECTIONS) for part in _section(title, content(report))),
        element("h2", "How far to trust this"),
        element("ul", *(element("li", caveat) for caveat in caveats(report))),
    )


def _section(title: str, content: Iterator[Markup]) -> list[Markup]:
    """The heading and what is below it; nothing where there is nothing to say."""
    found = list(content)
    return [element("h2", title), *found] if found else []


def _domains(report: Report) -> Iterator[Markup]:
    """Every domain with its numbers, the worst first and with a picture."""
    if not report.domains:
        return
    named, bottom = titles(report), _bottom(report)
    headings = (
        "domain", "verdict", charts.interval_axis(bottom), "accuracy", "interval", "target", "before",
        "by labels alone", "responses", "labels",
    )  # fmt: skip
    rows = [
        _domain_row(domain, named[domain.estimate.series], bottom if place < MAX_PICTURES else None)
        for place, domain in enumerate(report.domains)
    ]
    yield element(
        "p", "◆ below target, ○ not clear yet: the target lies inside the interval, ● on target, ? no estimate. "
        "The upright line is the target.", class_="note",
    )  # fmt: skip
    yield table("Every domain", headings, rows, "tvpnnnnnnn")


def _domain_row(domain: DomainReport, name: str, bottom: float | None) -> list[str]:
    e = domain.estimate
    picture = Markup() if bottom is None else charts.interval_row(name, _point(e), domain.target, bottom)
    before = ratio(domain.previous.accuracy) if domain.previous else "–"
    verdict = f"{_SIGNS[domain.verdict]} {domain.verdict}"
    return [
        name, element("strong", verdict) if domain.verdict == "below target" else verdict, picture,
        ratio(e.accuracy), interval(e.ci_low, e.ci_high),
        ratio(domain.target), before if domain.change is None else f"{before} ({domain.change:+.2f})",
        ratio(e.accuracy_labelled), f"{e.n_events:,}", f"{e.n_labels:,}",
    ]  # fmt: skip


def _over_time(report: Report) -> Iterator[Markup]:
    """The accuracy of the worst domains over the period, and what became of it in words."""
    shown = report.domains[:MAX_PICTURES]
    if not shown:
        return
    named, bottom, span = titles(report), _bottom(report), _span(shown, report.timezone)
    legend = "The line is the accuracy, the band its interval, the dashed line the target. Grey: no estimate."
    yield element("p", legend, class_="note")
    yield element(
        "div", *(_card(domain, named[domain.estimate.series], bottom, span) for domain in shown), class_="cards"
    )
    if len(report.domains) > len(shown):
        yield element("p", f"The {len(shown)} worst of {count(len(report.domains), 'domain')}.", class_="note")


def _card(domain: DomainReport, name: str, bottom: float, span: charts.Span) -> Markup:
    e = domain.estimate
    numbers = f"{count(e.n_events, 'response')}, {count(e.n_labels, 'label')}"
    words = numbers if e.accuracy is None else f"{ratio(e.accuracy)} ({interval(e.ci_low, e.ci_high)}), {numbers}"
    caption = element("figcaption", element("h3", name), element("p", f"{words}. {compared(domain)}"))
    points = [_point(made) for made in domain.history]
    return element("figure", caption, charts.over_time(name, points, domain.target, bottom, span))


def _predictions(report: Report) -> Iterator[Markup]:
    """How often responses were right, by what was predicted for them."""
    if not report.reliability:
        return
    n = sum(found.n for found in report.reliability)
    yield element(
        "p", f"Of responses with about the same predicted probability to be correct, this share was right, by "
        f"{count(n, 'label')} of the period. On the dashed line predictions are right.",
    )  # fmt: skip
    yield element("figure", charts.reliability("Predictions against labels", report.reliability), class_="single")


def _bottom(report: Report) -> float:
    """Where the axis of accuracy begins, the same in every picture."""
    shown = report.domains[:MAX_PICTURES]
    lows = [e.ci_low for domain in shown for e in (domain.estimate, *domain.history)]
    return charts.lowest([*lows, *(domain.target for domain in shown)])


def _span(shown: Sequence[DomainReport], timezone: str) -> charts.Span:
    """From the first to the last estimate; what has a single one stands at the right."""
    times = [e.window_end for domain in shown for e in (domain.estimate, *domain.history)]
    first, last = min(times), max(times)
    return charts.Span(first if first < last else last - 1.0, last, *(moment(at, timezone)[5:] for at in (first, last)))


def _point(e: Estimate) -> charts.Point:
    return charts.Point(e.window_end, e.accuracy, e.ci_low, e.ci_high)
