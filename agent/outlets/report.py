"""The content of a report: what a store holds about a period of event time, as one value.

A report depends on nothing but the store, so the same store gives the same report. Bounded by the domains and alerts of
two periods; of each domain at most `MAX_POINTS` estimates are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from driftgauge.agent.core.context_state import context_model, contexts_saved
from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.report_span import Span
from driftgauge.agent.outlets.versions import record_of
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.verdicts import verdicts
from driftgauge.models.classify.prequential import Metric
from driftgauge.models.classify.reliability import ReliabilityBin
from driftgauge.models.estimate.judged import JudgedAccuracy, judged_accuracy
from driftgauge.models.labels import SourceCounts
from driftgauge.models.outputs import Acquisition, Alert, Estimate, LabelList, SliceEstimates, WeakSegments
from driftgauge.models.pending import PendingLabels
from driftgauge.models.probes import is_probe_domain
from driftgauge.models.series import SeriesKey

MAX_POINTS = 200
"""Estimates over time of one series in a report. Of more, every second, third, … is kept, and always the newest."""


@dataclass(frozen=True, slots=True)
class DataQuality:
    """What arrived and could not be used.

    Of ``n_stored`` live responses of the period that are kept, ``n_predicted`` have a prediction: the others lack
    usable log-probabilities, or came before the first fit. ``rejected`` counts the dead letters that are kept, of any
    time, by reason. ``pending`` are labels whose response has not come.
    """

    n_stored: int
    n_predicted: int
    rejected: Mapping[str, int]
    pending: PendingLabels


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """How good the published predictions of one context were, over all its labels so far, in one domain or in all."""

    model: str
    fingerprint: str
    score: Metric


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report on ``[start, end)`` of event time.

    ``n_events`` and ``n_labels`` are those of live traffic, without probes. ``silent`` lists the domains that had an
    estimate in the period before, but none in this one. ``slices`` has the estimates of slices beside those of
    ``domains``. ``judged`` has the accuracy by the judge, by domain. ``reliability`` compares the predictions of
    the period with their labels. ``window_ends`` are those of the oldest and the newest window in the store; None
    without estimates. ``timezone`` is that of the times in texts.
    """

    start: float
    end: float
    n_events: int
    n_labels: int
    domains: tuple[DomainReport, ...]
    silent: tuple[str, ...]
    slices: tuple[SliceEstimates, ...]
    weak_segments: WeakSegments | None
    alerts: tuple[Alert, ...]
    acquisition: Acquisition | None
    label_lists: tuple[LabelList, ...]
    label_sources: tuple[SourceCounts, ...]
    judged: Mapping[str, JudgedAccuracy]
    scores: tuple[ScoreReport, ...]
    reliability: tuple[ReliabilityBin, ...]
    quality: DataQuality
    window_ends: tuple[float, float] | None
    timezone: str
    driftgauge_version: str


def make_report(
    queries: StoreQueries,
    start: float,
    end: float,
    targets: Mapping[str, float] | None = None,
    default_target: float = 0.8,
    confidence_level: float = 0.9,
    timezone: str = "UTC",
) -> Report:
    """Read the report of ``[start, end)`` from a store.

    Parameters
    ----------
    start, end : UTC seconds of event time; the report compares them with the period of the same length before ``start``
    targets : target accuracy by domain, in [0, 1]; other domains have ``default_target``
    confidence_level : of the intervals around what a judge says
    timezone : IANA name of the time zone in which texts show times
    """
    targets = targets or {}
    now, before = _by_series(queries.estimates(start, end)), _by_series(queries.estimates(2 * start - end, start))
    domains = [
        DomainReport(
            found[-1],
            before[series][-1] if series in before else None,
            targets.get(series.domain, default_target),
            _thinned(found),
        )
        for series, found in now.items()
    ]
    domains.sort(key=lambda domain: domain.order)
    keys = {domain.estimate.key for domain in domains}
    counts = [found for domain, found in queries.counts(start, end).items() if not is_probe_domain(domain)]
    return Report(
        start=start,
        end=end,
        n_events=sum(count.n_events for count in counts),
        n_labels=sum(count.n_labels for count in counts),
        domains=tuple(domains),
        silent=tuple(sorted({series.domain for series in before} - {series.domain for series in now})),
        slices=tuple(made for made in queries.slice_estimates(start, end) if made.key in keys),
        weak_segments=queries.weak_segments(start, end),
        alerts=tuple(queries.alerts(start, end)),
        acquisition=queries.latest_acquisition(),
        label_lists=tuple(queries.label_lists(start, end)),
        label_sources=tuple(queries.label_sources(start, end)),
        judged={
            domain: judged_accuracy(v.verdict, v.verdict_weight, v.truth, v.truth_weight, confidence_level)
            for domain, v in verdicts(queries, start, end).items()
        },
        scores=tuple(_scores(contexts_saved(queries.state("context/")))),
        reliability=tuple(queries.reliability(start, end, confidence_level)),
        quality=DataQuality(*queries.predicted(start, end), queries.rejected(), queries.pending_labels()),
        window_ends=queries.window_ends(),
        timezone=timezone,
        driftgauge_version=version("driftgauge"),
    )


def latest_period(queries: StoreQueries, period_s: float) -> Span:
    """The period of ``period_s`` seconds that ends with the newest window.

    Raises
    ------
    ConnectorError
        When the store holds no estimate.
    """
    ends = queries.window_ends()
    if ends is None:
        raise ConnectorError("the store holds no estimate yet, so there is nothing to report", retriable=True)
    return Span(ends[1] - period_s, ends[1])


def _scores(contexts: Mapping[str, Mapping[str, bytes]]) -> Iterator[ScoreReport]:
    for fingerprint, parts in sorted(contexts.items()):
        for score in record_of(parts).metrics:
            if score.classifier == "published" and score.n:
                yield ScoreReport(context_model(parts), fingerprint, score)


def _by_series(estimates: Sequence[Estimate]) -> dict[SeriesKey, list[Estimate]]:
    """The estimates of every series. ``estimates`` are sorted by window end."""
    found: dict[SeriesKey, list[Estimate]] = {}
    for estimate in estimates:
        found.setdefault(estimate.series, []).append(estimate)
    return found


def _thinned(estimates: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """At most `MAX_POINTS` of some estimates, evenly, and always the last."""
    step = -(-len(estimates) // MAX_POINTS)
    return tuple(estimates[::-step][::-1])
