"""The overview: each series with its newest estimate, the worst first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from driftgauge.agent.api.shapes import Counts, Moment, Name, OpenAlert, Page, Paged, Row, Trend, cursor, place_of
from driftgauge.agent.api.views.context import Known
from driftgauge.agent.outlets.domain_report import VERDICTS, DomainReport, Verdict
from driftgauge.connectors.store.alerts import AlertFilter, open_alerts
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.trends import accuracy_at, newest_boundaries
from driftgauge.models.outputs import Alert
from driftgauge.models.series import SeriesKey

TREND_POINTS = 48
FEW = 200
"""For more domains than these, it is faster to read the trends of all."""


class DomainsQuestion(Paged):
    """Which series to list."""

    search: Name = ""
    """Only domains whose name contains this text; upper and lower case are the same."""
    verdict: Verdict | None = None
    """Only series with this verdict."""


class Domains(Page[Row]):
    """Series, the worst first: by verdict, then by what is missing to the target, then by name."""

    as_of: Moment
    """The newest window end of all series; null without estimates."""
    counts: Counts = Field(default_factory=dict)
    """Number of series of each verdict, whatever the filters."""


def domains(queries: StoreQueries, question: DomainsQuestion, known: Known) -> Domains:
    """A page of series."""
    found = reports(queries, known)
    wanted = [report for report in found if _matches(report, question)]
    start = _start(wanted, question.after)
    page = wanted[start : start + question.limit]
    is_last = start + question.limit >= len(wanted)
    return Domains(
        items=rows(queries, page),
        next=None if is_last else cursor(*page[-1].order),
        as_of=max((report.estimate.window_end for report in found), default=None),
        counts={verdict: sum(report.verdict == verdict for report in found) for verdict in VERDICTS},
    )


def reports(queries: StoreQueries, known: Known) -> list[DomainReport]:
    """The newest estimate of every series with its target, the worst first."""
    newest = (DomainReport(made, None, known.target(made.domain)) for made in queries.latest_estimates())
    return sorted(newest, key=lambda report: report.order)


def rows(queries: StoreQueries, found: Sequence[DomainReport]) -> list[Row]:
    """Series with their trend and their open alerts."""
    domains = {report.estimate.domain for report in found}
    boundaries = newest_boundaries(queries, TREND_POINTS) if found else []
    accuracy = accuracy_at(queries, boundaries[0], domains if len(domains) <= FEW else None) if boundaries else {}
    alerts = _alerts(queries, domains)
    return [
        _row(report, _trend(boundaries, accuracy.get(report.estimate.series, {})), alerts.get(report.estimate.series))
        for report in found
    ]


def _alerts(queries: StoreQueries, domains: Collection[str]) -> dict[SeriesKey, list[Alert]]:
    """The alerts of these domains that fire, by domain and context; those of slices count with their domain."""
    found: dict[SeriesKey, list[Alert]] = {}
    for alert in reversed(open_alerts(queries, AlertFilter(domains))):
        found.setdefault(SeriesKey(alert.domain, alert.fingerprint), []).append(alert)
    return found


def _matches(report: DomainReport, question: DomainsQuestion) -> bool:
    has_name = question.search.casefold() in report.estimate.domain.casefold()
    return has_name and question.verdict in (None, report.verdict)


def _start(found: Sequence[DomainReport], after: str) -> int:
    """The index of the first series behind the place of a cursor, whether or not that series is still there."""
    if not after:
        return 0
    place = place_of(after, tuple[int, float, str, str])
    return sum(report.order <= place for report in found)


def _trend(boundaries: Sequence[float], accuracy: Mapping[float, float | None]) -> Trend:
    values = [accuracy.get(boundary) for boundary in boundaries]
    return Trend(
        start=boundaries[0],
        end=boundaries[-1],
        accuracy=[None if value is None else round(value, 4) for value in values],
    )


def _row(report: DomainReport, trend: Trend, alerts: Sequence[Alert] | None) -> Row:
    e = report.estimate
    return Row(
        domain=e.domain,
        fingerprint=e.fingerprint,
        model=e.model,
        verdict=report.verdict,
        target=report.target,
        status=e.status,
        status_reason=e.status_reason,
        accuracy=e.accuracy,
        ci_low=e.ci_low,
        ci_high=e.ci_high,
        confidence_level=e.confidence_level,
        accuracy_labelled=e.accuracy_labelled,
        n_events=e.n_events,
        n_labels=e.n_labels,
        window_start=e.window_start,
        window_end=e.window_end,
        trend=trend,
        alerts=[OpenAlert.model_validate(alert, from_attributes=True) for alert in alerts or ()],
    )
