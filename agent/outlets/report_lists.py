"""The sections of a report in HTML that are lists: changes, weak segments, data, labels, quality. Pure.

A list ends at `MAX_ROWS` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from driftgauge.agent.outlets import charts
from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.markup import Markup, element, joined
from driftgauge.agent.outlets.page import table
from driftgauge.agent.outlets.phrases import count, interval, ratio
from driftgauge.agent.outlets.report import Report
from driftgauge.agent.outlets.report_words import (
    bought,
    list_heading,
    listed,
    moment,
    newest_alerts,
    titles,
    weakest_slices,
)
from driftgauge.models.alerts.guide import action
from driftgauge.models.classify.reliability import share_interval
from driftgauge.models.estimate.judged import MIN_OVERLAP
from driftgauge.models.outputs import Alert, Priority

MAX_ROWS = 200

Section: TypeAlias = tuple[str, Callable[[Report], Iterator[Markup]]]
"""A heading, and what makes the content below it."""


def _changes(report: Report) -> Iterator[Markup]:
    """Alerts as they were at the end of the period."""
    found = newest_alerts(report.alerts)
    if not found:
        yield element("p", "No alerts.")
        return
    headings = ("domain", "what happened, and what to do", "state", f"at ({report.timezone})", "responses or labels")
    rows = [_change(alert, report.timezone) for alert in found[:MAX_ROWS]]
    yield table("What changed", headings, rows, "twvnn")
    yield from _rest(len(found))


def _change(alert: Alert, timezone: str) -> list[str]:
    since = f", since {moment(alert.since, timezone)}" if alert.since is not None else ""
    rows = f" Responses: {listed(alert.rows)}." if alert.rows else ""
    return [
        alert.domain + (f", {alert.slice}" if alert.slice else ""),
        joined(f"{alert.message}{since}.", element("div", f"To do: {action(alert)}.{rows}", class_="note")),
        alert.severity if alert.severity == "info" else f"{alert.severity}, {alert.state.replace('_', ' ')}",
        moment(alert.event_time, timezone),
        "–" if alert.n is None else f"{alert.n:,}",
    ]


def _slices(report: Report) -> Iterator[Markup]:
    """The weak segments, and the estimated slices with the lowest accuracy."""
    weak, estimated = report.weak_segments, weakest_slices(report)
    if weak and not weak.segments:
        yield element("p", f"No weak segment among {weak.n_segments + weak.n_suggesting:,}.")
    if weak and weak.segments:
        rows = [
            [row.domain, row.slice, "labels prove it" if row.basis == "labels" else "predictions suggest it", row.why]
            for row in weak.segments[:MAX_ROWS]
        ]
        yield table("Weak segments", ("domain", "weak segment", "how sure", "why"), rows, "ttvw")
    if estimated:
        rows = [
            [name, s.slice, ratio(s.accuracy), interval(s.ci_low, s.ci_high), f"{s.n_events:,}", f"{s.n_labels:,}"]
            for name, s in estimated[:MAX_ROWS]
        ]
        headings = ("domain", "slice", "accuracy", "interval", "responses", "labels")
        yield table("Slices", headings, rows, "ttnnnn")
        yield from _rest(len(estimated))


def _data(report: Report) -> Iterator[Markup]:
    """For which series to get data, and what it would be worth."""
    found = report.acquisition.priorities if report.acquisition else ()
    if not found:
        yield element("p", "No list yet.")
        return
    values = [row.value for row in found[:MAX_ROWS] if row.value is not None]
    extent = min(values, default=0.0), max(values, default=0.0)
    yield element("p", "Value: the points that the accuracy of all traffic gains when the domain reaches its target.",
                  class_="note")  # fmt: skip
    rows = [_data_row(row, extent) for row in found[:MAX_ROWS]]
    headings = ("domain", "value", "points", "responses", "labels", "why", "worst responses")
    yield table("Data to get", headings, rows, "tpnnnww")
    yield from _rest(len(found))


def _data_row(row: Priority, extent: tuple[float, float]) -> list[str]:
    return [
        row.domain, charts.bar_row(f"Value of {row.domain}", row.value, extent),
        "–" if row.value is None else f"{row.value * 100:+.1f}", f"{row.n_events:,}", f"{row.n_labels:,}", row.why,
        listed(row.worst) or "–",
    ]  # fmt: skip


def _labels(report: Report) -> Iterator[Markup]:
    """What to label, and what the labels so far bought."""
    lists = report.label_lists
    if lists:
        yield element("p", list_heading(report))
        rows = [
            [
                made.domain, f"{len(made.requests):,}", f"{made.n_responses:,}", made.reason, f"{made.n_asked:,}",
                f"{made.n_answered:,}",
            ]
            for made in lists[:MAX_ROWS]
        ]  # fmt: skip
        headings = ("domain", "to label", "of responses", "why", "asked before", "labelled of these")
        yield table("What to label", headings, rows, "tnnwnn")
        yield from _rest(len(lists))
    else:
        yield element("p", "No label list in this period.")
    labelled = [domain for domain in report.domains if domain.estimate.n_labels]
    if not labelled:
        return
    named = titles(report)
    yield element("h3", "What labels bought")
    yield element("p", f"{bought(report)} Labels alone would give the intervals in the last column.")
    rows = [_bought_row(domain, named[domain.estimate.series]) for domain in labelled[:MAX_ROWS]]
    headings = ("domain", "labels", "worth", "interval", "in the period before", "by labels alone")
    yield table("What labels bought", headings, rows, "tnnnnn")
    yield from _rest(len(labelled))


def _bought_row(domain: DomainReport, name: str) -> list[str]:
    e, before = domain.estimate, domain.previous
    alone = (
        share_interval(e.accuracy_labelled, e.effective_sample_size, e.confidence_level)
        if e.accuracy_labelled is not None and e.effective_sample_size > 0
        else (None, None)
    )
    return [
        name, f"{e.n_labels:,}", f"{e.effective_sample_size:.0f}", interval(e.ci_low, e.ci_high),
        interval(before.ci_low, before.ci_high) if before else "–", interval(*alone),
    ]  # fmt: skip


def _judge(report: Report) -> Iterator[Markup]:
    """The accuracy by the judge, as it is and corrected by people."""
    if not report.judged:
        return
    yield element("p", f"Corrected by labels of people or programs, where at least {MIN_OVERLAP} responses have both.")
    rows = [
        [
            name, f"{found.n_judged:,}", ratio(found.by_judge), f"{found.n_overlap:,}", ratio(found.agreement),
            ratio(found.accuracy), interval(found.ci_low, found.ci_high),
        ]
        for name, found in [*report.judged.items()][:MAX_ROWS]
    ]  # fmt: skip
    headings = ("domain", "judged", "by the judge", "with a label too", "agreement", "corrected", "interval")
    yield table("What the judge says", headings, rows, "tnnnnnn")
    yield from _rest(len(report.judged))


def _quality(report: Report) -> Iterator[Markup]:
    """What arrived and could not be used."""
    quality, n = report.quality, sum(report.quality.rejected.values())
    lines = [f"{quality.n_predicted:,} of {count(quality.n_stored, 'stored response')} have a prediction."]
    lines.append(f"{count(quality.pending.n, 'label')} met no response so far." if quality.pending.n else "")
    lines.append(f"{count(n, 'dead letter')} in the store, of any time:" if n else "No dead letters in the store.")
    yield from (element("p", line) for line in lines if line)
    if n:
        rows = [[reason.replace("_", " "), f"{found:,}"] for reason, found in quality.rejected.items()]
        yield table("Dead letters by reason", ("reason", "dead letters"), rows, "tn")


def _rest(total: int) -> Iterator[Markup]:
    if total > MAX_ROWS:
        yield element("p", f"And {total - MAX_ROWS:,} more, in the JSON file.", class_="note")


SECTIONS: tuple[Section, ...] = (
    ("What changed", _changes),
    ("Weak segments and slices", _slices),
    ("Data to get", _data),
    ("Labels", _labels),
    ("What the judge says", _judge),
    ("Data quality", _quality),
)
"""In this order below the pictures."""
