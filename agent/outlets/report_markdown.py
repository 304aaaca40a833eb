"""A report as text: GitHub-flavoured Markdown that a person reads in a minute. Pure: a `Report` in, text out.

Names of domains come from events, so they are escaped. Long lists are cut at `MAX_ROWS`; the JSON file is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from driftgauge.agent.outlets.report import VERDICTS, DomainReport, Report, ScoreReport, Verdict
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.estimate.judged import MIN_OVERLAP
from driftgauge.models.labels import SourceCounts
from driftgauge.models.outputs import Alert, Estimate, LabelList, SliceEstimate

MAX_ROWS = 200
_MAX_NAMES = 8
_MAX_SLICES = 20


def to_markdown(report: Report) -> str:
    """The whole report."""
    parts = [
        [f"# Accuracy, {_moment(report.start)} to {_moment(report.end)} UTC", ""],
        headline(report),
        ["", "## Domains", "", *_table(report)],
        *([["", "## Slices", "", *_slices(report)]] if report.slices or report.weak_segments else []),
        ["", "## What changed", "", *_changes(report.alerts)],
        ["", "## Data to get", "", *_data_list(report)],
        ["", "## What to label", "", *_label_lists(report.label_lists)],
        *([["", "## What the judge says", "", *_judged(report)]] if report.judged else []),
        ["", "## How far to trust this", "", *(f"- {caveat}" for caveat in caveats(report))],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def headline(report: Report) -> list[str]:
    """The results in a few sentences."""
    by_verdict = {verdict: [d for d in report.domains if d.verdict == verdict] for verdict in VERDICTS}
    alerted = _unique(alert.domain for alert in report.alerts if alert.severity != "info")
    lines = [
        f"{_count(report.n_events, 'response')} with {_count(report.n_labels, 'label')}; "
        f"{_count(len({d.estimate.domain for d in report.domains}), 'domain')}."
    ]
    sentences: dict[Verdict, str] = {
        "below target": "**Below target: {}.**",
        "unclear": "Not clear yet: {}.",
        "no estimate": "No estimate: {}.",
        "meets target": "On target: {}.",
    }
    lines += [
        sentence.format(_names(_with_accuracy(d) for d in by_verdict[verdict]))
        for verdict, sentence in sentences.items()
        if by_verdict[verdict]
    ]
    if alerted:
        lines.append(f"Warnings or alarms in {_names(map(_plain, alerted))}.")
    first = next(iter(report.acquisition.priorities), None) if report.acquisition else None
    if first is not None and (first.value or 0) > 0:
        lines.append(f"More data would help most in {_plain(first.domain)}.")
    return lines


def caveats(report: Report) -> list[str]:
    """The limits of the numbers: unknown estimates, missing labels, confidence, how good the predictions were."""
    estimates = [domain.estimate for domain in report.domains]
    unknown = [e for e in estimates if e.accuracy is None]
    lines = [f"{_title(e, report)} has no estimate: {_plain(e.status_reason or e.status)}." for e in unknown[:MAX_ROWS]]
    unlabelled = _unique(e.domain for e in estimates if e.accuracy is not None and e.n_labels == 0)
    if unlabelled:
        lines.append(f"No labels, estimated from the entropy signal alone: {_names(map(_plain, unlabelled))}.")
    if report.silent:
        lines.append(f"An estimate in the period before, none in this one: {_names(map(_plain, report.silent))}.")
    levels = sorted({e.confidence_level for e in estimates})
    if levels:
        lines.append(
            f"An interval should contain the true accuracy with probability {' or '.join(map(str, levels))}."
            " Responses, labels and accuracy are those of the newest window of each domain."
        )
    lines += [_source(counts) for counts in report.label_sources]
    lines += [_score(score) for score in report.scores if score.score.domain is None]
    made_by = _unique(f"{e.estimator} with classifier version {e.classifier_version}" for e in estimates)
    lines.append(f"Computed by driftgauge {report.driftgauge_version}{'; ' if made_by else ''}{_names(made_by)}.")
    return lines


def _source(counts: SourceCounts) -> str:
    """How far the labels of a source agree with drawn labels, which are a fair sample."""
    line = f"{_count(counts.n, 'label')} of source {_plain(counts.source)}"
    if not counts.n_compared:
        return f"{line}."
    contradicted = counts.n_compared - counts.n_agreeing
    return f"{line}; of {counts.n_compared} whose response has a drawn label too, {contradicted} contradict it."


def _score(report: ScoreReport) -> str:
    """How good the predictions of one context were."""
    score = report.score
    return (
        f"Predictions for {_plain(report.model or 'the unnamed model')}, each made before its label: Brier score "
        f"{_ratio(score.brier)}, AUROC {_ratio(score.auroc)}, calibration error {_ratio(score.calibration_error)} "
        f"({_ratio(score.calibration_low)} to {_ratio(score.calibration_high)}), over {_count(score.n, 'label')}."
    )


def _table(report: Report) -> Iterator[str]:
    if not report.domains:
        yield "No domain had an estimate in this period."
        return
    yield "| domain | responses | labels | accuracy | interval | by labels alone | before | target | verdict |"
    yield "|:--|--:|--:|--:|:-:|--:|--:|--:|:--|"
    for domain in report.domains[:MAX_ROWS]:
        e = domain.estimate
        cells = [
            _title(e, report), f"{e.n_events}", f"{e.n_labels}", _ratio(e.accuracy), _interval(e),
            _ratio(e.accuracy_labelled), _before(domain), _ratio(domain.target), domain.verdict,
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
    estimated = [(made.domain, one) for made in report.slices for one in made.slices]
    estimated.sort(key=lambda pair: (pair[1].accuracy is None, pair[1].accuracy or 0, pair[0], pair[1].slice))
    for domain, one in estimated[:_MAX_SLICES]:
        numbers = [f"{one.n_events}", f"{one.n_labels}", _ratio(one.accuracy), _interval(one)]
        yield f"| {' | '.join([_plain(domain), _plain(one.slice), *numbers])} |"
    if len(estimated) > _MAX_SLICES:
        yield from ("", f"And {len(estimated) - _MAX_SLICES} more, in the JSON file.")


def _changes(alerts: tuple[Alert, ...]) -> Iterator[str]:
    """Alerts as they were at the end of the period, by severity (alarms first) and then by time."""
    if not alerts:
        yield "No alerts."
    order = ("alarm", "warning", "info")
    newest = {(alert.identity, alert.began): alert for alert in alerts}.values()
    for alert in sorted(newest, key=lambda a: (order.index(a.severity), a.event_time, a.number))[:MAX_ROWS]:
        since = f", since {_moment(alert.since)}" if alert.since is not None else ""
        state = "" if alert.severity == "info" else f", {alert.state.replace('_', ' ')}"
        what = f"**{_plain(alert.domain)}** ({alert.severity}{state}): {_plain(alert.message)}"
        yield f"- {_moment(alert.event_time)} {what}{since}"
    yield from _rest(len(newest))


def _data_list(report: Report) -> Iterator[str]:
    rows = report.acquisition.priorities if report.acquisition else ()
    if not rows:
        yield "No list yet."
    for row in rows[:MAX_ROWS]:
        worst = f"; worst responses: {_names(map(_plain, row.worst))}" if row.worst else ""
        yield f"{row.rank}. **{_plain(row.domain)}**: {_plain(row.why)}{worst}"
    yield from _rest(len(rows))


def _label_lists(lists: tuple[LabelList, ...]) -> Iterator[str]:
    """The lists of the newest period, and what earlier requests brought."""
    if not lists:
        yield "No label list in this period."
        return
    n, end, expires = sum(len(made.requests) for made in lists), lists[0].period_end, lists[0].expires
    yield f"{_count(n, 'response')} of the period that ended {_moment(end)}, until {_moment(expires)}:"
    yield ""
    for made in lists[:MAX_ROWS]:
        requests = f"{len(made.requests)} of {_count(made.n_responses, 'response')}"
        yield f"{made.rank}. **{_plain(made.domain)}**: {requests} ({_plain(made.reason)})"
    yield from _rest(len(lists))


def _judged(report: Report) -> Iterator[str]:
    """The accuracy by the judge, as it is and corrected by people, with a sentence about what is missing."""
    yield "| domain | judged | by the judge | with a label too | agreement | corrected | interval |"
    yield "|:--|--:|--:|--:|--:|--:|:-:|"
    for domain, found in [*report.judged.items()][:MAX_ROWS]:
        interval = "–" if found.ci_low is None else f"{_ratio(found.ci_low)} to {_ratio(found.ci_high)}"
        cells = [
            _plain(domain), f"{found.n_judged}", _ratio(found.by_judge), f"{found.n_overlap}",
            _ratio(found.agreement), _ratio(found.accuracy), interval,
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    yield from _rest(len(report.judged))
    if few := [domain for domain, found in report.judged.items() if found.accuracy is None]:
        yield ""
        yield (
            f"The judge cannot be corrected in {_names(map(_plain, few))}: fewer than {MIN_OVERLAP} of the judged "
            "responses have a label of a person or a program. Do not take the judge's word for the accuracy."
        )


def _rest(total: int) -> list[str]:
    return ["", f"And {total - MAX_ROWS} more, in the JSON file."] if total > MAX_ROWS else []


def _title(estimate: Estimate, report: Report) -> str:
    """The domain; with its model or context when the report has several of them."""
    others = [d.estimate for d in report.domains]
    name = _plain(estimate.domain)
    if len({e.model for e in others}) > 1:
        name += f", {_plain(estimate.model or 'unnamed model')}"
    if len({e.fingerprint for e in others if (e.domain, e.model) == (estimate.domain, estimate.model)}) > 1:
        name += f" (context {estimate.fingerprint})"
    return name


def _with_accuracy(domain: DomainReport) -> str:
    name = _plain(domain.estimate.domain)
    return name if domain.estimate.accuracy is None else f"{name} ({_ratio(domain.estimate.accuracy)})"


def _names(names: Iterable[str]) -> str:
    """The first `_MAX_NAMES` names, and the number of the others."""
    known = list(names)
    more = len(known) - _MAX_NAMES
    return ", ".join(known[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(estimate: Estimate | SliceEstimate) -> str:
    return f"{_ratio(estimate.ci_low)} to {_ratio(estimate.ci_high)}" if estimate.ci_low is not None else "–"


def _before(domain: DomainReport) -> str:
    if domain.change is None or domain.previous is None:
        return "–"
    return f"{_ratio(domain.previous.accuracy)} ({domain.change:+.2f})"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _moment(seconds: float) -> str:
    return (rfc3339(seconds) or "unknown")[:16].replace("T", " ")


def _plain(text: str) -> str:
    """Text with the characters escaped that Markdown would interpret."""
    return re.sub(r"([\\`*_\[\]<>|~#!])", r"\\\1", " ".join(text.split()))
