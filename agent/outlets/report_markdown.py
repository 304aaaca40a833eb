"""A report as text: GitHub-flavoured Markdown that a person reads in a minute. Pure: a `Report` in, text out.

Names of domains come from events, so they are escaped. Long lists are cut at `MAX_ROWS`; the JSON file is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.phrases import count, interval, ratio
from driftgauge.agent.outlets.report import Report
from driftgauge.agent.outlets.report_words import (
    caveats,
    first_steps,
    heading,
    headline,
    list_heading,
    listed,
    moment,
    newest_alerts,
    nothing_estimated,
    titles,
    weakest_slices,
)
from driftgauge.models.estimate.judged import MIN_OVERLAP

MAX_ROWS = 200
_MAX_SLICES = 20


def to_markdown(report: Report) -> str:
    """The whole report."""
    parts = [
        [f"# {heading(report)}", ""],
        [f"**{_plain(text)}**" if is_urgent else _plain(text) for text, is_urgent in headline(report)],
        ["", "## What to do first", "", *(f"{n}. {_plain(step)}" for n, step in enumerate(first_steps(report), 1))],
        ["", "## Domains", "", *_table(report)],
        *([["", "## Slices", "", *_slices(report)]] if report.slices or report.weak_segments else []),
        ["", "## What changed", "", *_changes(report)],
        ["", "## Data to get", "", *_data_list(report)],
        ["", "## What to label", "", *_label_lists(report)],
        *([["", "## What the judge says", "", *_judged(report)]] if report.judged else []),
        ["", "## How far to trust this", "", *(f"- {_plain(caveat)}" for caveat in caveats(report))],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _table(report: Report) -> Iterator[str]:
    if not report.domains:
        yield nothing_estimated(report)
        return
    yield "| domain | responses | labels | accuracy | interval | by labels alone | before | target | verdict |"
    yield "|:--|--:|--:|--:|:-:|--:|--:|--:|:--|"
    named = titles(report)
    for domain in report.domains[:MAX_ROWS]:
        e = domain.estimate
        cells = [
            _plain(named[e.series]), f"{e.n_events}", f"{e.n_labels}", ratio(e.accuracy),
            interval(e.ci_low, e.ci_high), ratio(e.accuracy_labelled), _before(domain), ratio(domain.target),
            domain.verdict,
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    yield from _rest(len(report.domains))


def _slices(report: Report) -> Iterator[str]:
    """The weak segments, and the estimated slices with the lowest accuracy."""
    weak = report.weak_segments
    for row in weak.segments if weak else ():
        certainty = "labels prove it" if row.basis == "labels" else "suggested by predictions, not proved"
        yield f"- **{_plain(row.domain)}**, {_plain(row.slice)} is weak: {_plain(row.why)} ({certainty})"
    if weak and not weak.segments:
        yield f"No weak segment among {weak.n_segments + weak.n_suggesting}."
    if not report.slices:
        return
    yield from ("", "| domain | slice | responses | labels | accuracy | interval |", "|:--|:--|--:|--:|--:|:-:|")
    estimated = weakest_slices(report)
    for domain, one in estimated[:_MAX_SLICES]:
        numbers = [f"{one.n_events}", f"{one.n_labels}", ratio(one.accuracy), interval(one.ci_low, one.ci_high)]
        yield f"| {' | '.join([_plain(domain), _plain(one.slice), *numbers])} |"
    if len(estimated) > _MAX_SLICES:
        yield from ("", f"And {len(estimated) - _MAX_SLICES} more, in the JSON file.")


def _changes(report: Report) -> Iterator[str]:
    """Alerts as they were at the end of the period, by severity (alarms first) and then by time."""
    newest = newest_alerts(report.alerts)
    if not newest:
        yield "No alerts."
    for alert in newest[:MAX_ROWS]:
        since = f", since {moment(alert.since, report.timezone)}" if alert.since is not None else ""
        state = "" if alert.severity == "info" else f", {alert.state.replace('_', ' ')}"
        what = f"**{_plain(alert.domain)}** ({alert.severity}{state}): {_plain(alert.message)}"
        yield f"- {moment(alert.event_time, report.timezone)} {what}{since}"
    yield from _rest(len(newest))


def _data_list(report: Report) -> Iterator[str]:
    rows = report.acquisition.priorities if report.acquisition else ()
    if not rows:
        yield "No list yet."
    for row in rows[:MAX_ROWS]:
        worst = f"; worst responses: {_plain(listed(row.worst))}" if row.worst else ""
        yield f"{row.rank}. **{_plain(row.domain)}**: {_plain(row.why)}{worst}"
    yield from _rest(len(rows))


def _label_lists(report: Report) -> Iterator[str]:
    """The lists of the newest period, and what earlier requests brought."""
    lists = report.label_lists
    if not lists:
        yield "No label list in this period."
        return
    yield list_heading(report)
    yield ""
    for made in lists[:MAX_ROWS]:
        requests = f"{len(made.requests)} of {count(made.n_responses, 'response')}"
        yield f"{made.rank}. **{_plain(made.domain)}**: {requests} ({_plain(made.reason)})"
    yield from _rest(len(lists))


def _judged(report: Report) -> Iterator[str]:
    """The accuracy by the judge, as it is and corrected by people, with a sentence about what is missing."""
    yield "| domain | judged | by the judge | with a label too | agreement | corrected | interval |"
    yield "|:--|--:|--:|--:|--:|--:|:-:|"
    for domain, found in [*report.judged.items()][:MAX_ROWS]:
        cells = [
            _plain(domain), f"{found.n_judged}", ratio(found.by_judge), f"{found.n_overlap}",
            ratio(found.agreement), ratio(found.accuracy), interval(found.ci_low, found.ci_high),
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    yield from _rest(len(report.judged))
    if few := [domain for domain, found in report.judged.items() if found.accuracy is None]:
        yield ""
        yield (
            f"The judge cannot be corrected in {_plain(listed(few))}: fewer than {MIN_OVERLAP} of the judged "
            "responses have a label of a person or a program. Do not take the judge's word for the accuracy."
        )


def _rest(total: int) -> list[str]:
    return ["", f"And {total - MAX_ROWS} more, in the JSON file."] if total > MAX_ROWS else []


def _before(domain: DomainReport) -> str:
    if domain.change is None or domain.previous is None:
        return "–"
    return f"{ratio(domain.previous.accuracy)} ({domain.change:+.2f})"


def _plain(text: str) -> str:
    """Text with the characters escaped that Markdown would interpret."""
    return re.sub(r"([\\`*_\[\]<>|~#!])", r"\\\1", " ".join(text.split()))
