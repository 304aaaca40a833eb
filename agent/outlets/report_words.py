"""The sentences of a report, for every format: plain text, which the format escapes. Pure: a `Report` in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from statistics import median
from typing import NamedTuple
from zoneinfo import ZoneInfo

from driftgauge.agent.outlets.domain_report import VERDICTS, DomainReport, Verdict
from driftgauge.agent.outlets.phrases import count, names, ratio
from driftgauge.agent.outlets.report import Report, ScoreReport
from driftgauge.models.alerts.guide import action, sentence
from driftgauge.models.labels import SourceCounts
from driftgauge.models.outputs import Alert, SliceEstimate
from driftgauge.models.series import SeriesKey

_MAX_NAMES = 8
_MAX_UNKNOWN = 200
_MAX_STEPS = 3

_SENTENCES: Mapping[Verdict, str] = {
    "below target": "Below target: {}.",
    "unclear": "Not clear yet: {}.",
    "no estimate": "No estimate: {}.",
    "meets target": "On target: {}.",
}


def heading(report: Report) -> str:
    """The title of the report, with its period."""
    first, end = (moment(at, report.timezone) for at in (report.start, report.end))
    return f"Accuracy, {first} to {end} {report.timezone}"


class Sentence(NamedTuple):
    """A sentence, and whether somebody has to act on it."""

    text: str
    is_urgent: bool = False


def headline(report: Report) -> Iterator[Sentence]:
    """The results in a few sentences."""
    n_domains = len({d.estimate.domain for d in report.domains})
    yield Sentence(
        f"{count(report.n_events, 'response')} with {count(report.n_labels, 'label')}; {count(n_domains, 'domain')}."
    )
    for verdict in VERDICTS:
        if found := [_with_accuracy(domain) for domain in report.domains if domain.verdict == verdict]:
            yield Sentence(_SENTENCES[verdict].format(listed(found)), verdict == "below target")
    if alerted := unique(alert.domain for alert in report.alerts if alert.severity != "info"):
        yield Sentence(f"Warnings or alarms in {listed(alerted)}.")
    first = next(iter(report.acquisition.priorities), None) if report.acquisition else None
    if first is not None and (first.value or 0) > 0:
        yield Sentence(f"More data would help most in {first.domain}.")


def verdicts(report: Report) -> str:
    """How many domains are below target, unclear, without an estimate and on target, in one sentence."""
    n = Counter(domain.verdict for domain in report.domains)
    if not n:
        return nothing_estimated(report)
    words: Mapping[Verdict, str] = {
        "below target": "below target",
        "unclear": "not clear yet",
        "no estimate": "without an estimate",
        "meets target": "on target",
    }
    found = [f"{n[verdict]:,} {words[verdict]}" for verdict in VERDICTS if n[verdict]]
    return f"{count(n.total(), 'domain')}: {', '.join(found)}."


def nothing_estimated(report: Report) -> str:
    """That the period has no estimate, and of which time the store has some."""
    if report.window_ends is None:
        return "No domain had an estimate in this period; the store holds no estimate of any time."
    oldest, newest = (moment(at, report.timezone) for at in report.window_ends)
    return (
        "No domain had an estimate in this period; the windows in the store ended between "
        f"{oldest} and {newest} {report.timezone}."
    )


def first_steps(report: Report) -> list[str]:
    """What to do first, the most urgent first: alarms, data, warnings, labels, records that could not be used."""
    return [*_steps(report)] or ["Nothing is urgent."]


def _steps(report: Report) -> Iterator[str]:
    if not report.domains:
        yield "Check that events arrive: no domain had an estimate in this period."
    firing = [a for a in newest_alerts(report.alerts) if a.state == "firing" and not a.inhibited_by]
    alarms = [a for a in firing if a.severity == "alarm"]
    known = {a.domain for a in alarms}  # a warning says no more than the alarm
    warnings = [a for a in firing if a.severity == "warning" and a.domain not in known]
    yield from map(_step, alarms[:_MAX_STEPS])
    for row in (report.acquisition.priorities if report.acquisition else ())[:1]:
        if (row.value or 0) > 0:
            yield f"Get data for {row.domain}, or change its prompt or model: {row.why}."
    yield from map(_step, warnings[:_MAX_STEPS])
    if lists := [made for made in report.label_lists if made.requests]:
        n = sum(len(made.requests) for made in lists)
        yield f"Label {count(n, 'response')}, those of {lists[0].domain} first: {lists[0].reason}."
    if rejected := report.quality.rejected:
        reason, n = next(iter(rejected.items()))
        yield f"Look at {count(sum(rejected.values()), 'dead letter')}; the most frequent reason is {reason} ({n:,})."
    if n := report.quality.pending.n:
        yield f"Find out why {count(n, 'label')} met no response."


def _step(alert: Alert) -> str:
    todo = action(alert)
    return f"{alert.domain}: {todo[:1].upper()}{todo[1:]}. {sentence(alert)}"


def compared(domain: DomainReport) -> str:
    """The accuracy against the period before, in words."""
    if domain.estimate.accuracy is None:
        return f"No estimate: {domain.estimate.status_reason or domain.estimate.status}."
    if domain.change is None or domain.previous is None:
        return "Unknown in the period before."
    points, before = round(abs(domain.change) * 100), ratio(domain.previous.accuracy)
    if not points:
        return f"As in the period before ({before})."
    return f"{count(points, 'point')} {'more' if domain.change > 0 else 'less'} than in the period before ({before})."


def bought(report: Report) -> str:
    """What labels bought: how wide intervals are where there are labels, and where there are none."""
    known = [
        (e.n_labels, e.ci_high - e.ci_low)
        for e in (domain.estimate for domain in report.domains)
        if e.ci_low is not None and e.ci_high is not None
    ]
    parts = [
        f"{median(widths) * 100:.0f} points wide in {count(len(widths), 'domain')} {which} (median)"
        for which, widths in (
            ("with labels", [width for n, width in known if n]),
            ("without", [width for n, width in known if not n]),
        )
        if widths
    ]
    return f"The interval of accuracy is {' and '.join(parts)}." if parts else ""


def caveats(report: Report) -> Iterator[str]:
    """The limits of the numbers: unknown estimates, missing labels, confidence, how good the predictions were."""
    estimates = [domain.estimate for domain in report.domains]
    if report.window_ends and report.window_ends[1] < report.end:
        newest = moment(report.window_ends[1], report.timezone)
        yield f"Event time has not reached the end of the period: the newest window ended {newest} {report.timezone}."
    unknown = [e for e in estimates if e.accuracy is None]
    named = titles(report)
    yield from (f"{named[e.series]} has no estimate: {e.status_reason or e.status}." for e in unknown[:_MAX_UNKNOWN])
    if unlabelled := unique(e.domain for e in estimates if e.accuracy is not None and e.n_labels == 0):
        yield f"No labels, estimated from the entropy signal alone: {listed(unlabelled)}."
    if report.silent:
        yield f"An estimate in the period before, none in this one: {listed(report.silent)}."
    if levels := sorted({e.confidence_level for e in estimates}):
        yield (
            f"An interval should contain the true accuracy with probability {' or '.join(map(str, levels))}."
            " Responses, labels and accuracy are those of the newest window of each domain."
        )
    yield from map(_source, report.label_sources)
    yield from (_score(score) for score in report.scores if score.score.domain is None)
    made_by = unique(f"{e.estimator} with classifier version {e.classifier_version}" for e in estimates)
    yield f"Computed by driftgauge {report.driftgauge_version}{'; ' if made_by else ''}{listed(made_by)}."


def _source(counts: SourceCounts) -> str:
    """How far the labels of a source agree with drawn labels, which are a fair sample."""
    line = f"{count(counts.n, 'label')} of source {counts.source}"
    if not counts.n_compared:
        return f"{line}."
    contradicted = counts.n_compared - counts.n_agreeing
    return f"{line}; of {counts.n_compared} whose response has a drawn label too, {contradicted} contradict it."


def _score(report: ScoreReport) -> str:
    """How good the predictions of one context were."""
    score = report.score
    return (
        f"Predictions for {report.model or 'the unnamed model'}, each made before its label: Brier score "
        f"{ratio(score.brier)}, AUROC {ratio(score.auroc)}, calibration error {ratio(score.calibration_error)} "
        f"({ratio(score.calibration_low)} to {ratio(score.calibration_high)}), over {count(score.n, 'label')}."
    )


def newest_alerts(alerts: Iterable[Alert]) -> list[Alert]:
    """Alerts as they were at the end of the period, by severity (alarms first) and then by time."""
    order = ("alarm", "warning", "info")
    newest = {(alert.identity, alert.began): alert for alert in alerts}.values()
    return sorted(newest, key=lambda alert: (order.index(alert.severity), alert.event_time, alert.number))


def weakest_slices(report: Report) -> list[tuple[str, SliceEstimate]]:
    """The estimated slices with their domain, those with the lowest accuracy first."""
    estimated = [(made.domain, one) for made in report.slices for one in made.slices]
    return sorted(estimated, key=lambda pair: (pair[1].accuracy is None, pair[1].accuracy or 0, pair[0], pair[1].slice))


def list_heading(report: Report) -> str:
    """What the label lists of one period ask for, and until when."""
    n = sum(len(made.requests) for made in report.label_lists)
    end, expires = (
        moment(at, report.timezone) for at in (report.label_lists[0].period_end, report.label_lists[0].expires)
    )
    return f"{count(n, 'response')} of the period that ended {end}, until {expires}:"


def titles(report: Report) -> dict[SeriesKey, str]:
    """The domain of each series; with its model or context when the report has several of them."""
    estimates = [domain.estimate for domain in report.domains]
    n_models = len({e.model for e in estimates})
    contexts = Counter((domain, model) for domain, model, _ in {(e.domain, e.model, e.fingerprint) for e in estimates})
    return {
        e.series: e.domain
        + (f", {e.model or 'unnamed model'}" if n_models > 1 else "")
        + (f" (context {e.fingerprint})" if contexts[e.domain, e.model] > 1 else "")
        for e in estimates
    }


def _with_accuracy(domain: DomainReport) -> str:
    name = domain.estimate.domain
    return name if domain.estimate.accuracy is None else f"{name} ({ratio(domain.estimate.accuracy)})"


def listed(found: Iterable[str]) -> str:
    """The first `_MAX_NAMES` names, and the number of the others."""
    return names(found, _MAX_NAMES)


def unique(found: Iterable[str]) -> list[str]:
    """Each name once, in the order of first appearance."""
    return list(dict.fromkeys(found))


def moment(seconds: float, timezone: str) -> str:
    """The minute of UTC seconds since the epoch, in a time zone.

    >>> moment(60.0, "UTC"), moment(60.0, "Asia/Kolkata"), moment(float("nan"), "UTC")
    ('1970-01-01 00:01', '1970-01-01 05:31', 'unknown')
    """
    zone = ZoneInfo(timezone)
    try:
        return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError):
        return "unknown"
