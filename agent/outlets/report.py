"""What a store says about a period, as one value.

It speaks of event time and says nothing that is not in the store, so the same store gives the same value. Bounded by
the domains and alerts of two periods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, Protocol, TypeAlias

from driftgauge.agent.core.state import context_model, contexts_saved
from driftgauge.agent.outlets.versions import record_of
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.queries import Counts
from driftgauge.models.classify.prequential import Metric
from driftgauge.models.outputs import Acquisition, Alert, Estimate
from driftgauge.models.series import SeriesKey

Verdict: TypeAlias = Literal["below target", "unclear", "no estimate", "meets target"]
VERDICTS: tuple[Verdict, ...] = ("below target", "unclear", "no estimate", "meets target")
"""Worst first: the order in which domains are listed."""


class Reader(Protocol):
    """What a report asks of a store."""

    def latest_estimates(self) -> list[Estimate]:
        """The newest estimate of every (domain, fingerprint)."""
        ...

    def estimates(self, start: float, end: float) -> list[Estimate]:
        """Estimates of windows that ended in ``(start, end]``, by window end."""
        ...

    def alerts(self, start: float, end: float) -> list[Alert]:
        """Alerts with ``start <= event_time < end``."""
        ...

    def latest_acquisition(self) -> Acquisition | None:
        """The newest list of what to label."""
        ...

    def counts(self, start: float, end: float) -> Mapping[str, Counts]:
        """Responses and labels by domain."""
        ...

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name."""
        ...


@dataclass(frozen=True, slots=True)
class DomainReport:
    """One domain in one context: its newest estimate of the period, and the newest of the period before."""

    estimate: Estimate
    previous: Estimate | None
    target: float

    @property
    def verdict(self) -> Verdict:
        """The whole interval against the target: only one that lies on one side of it decides."""
        low, high = self.estimate.ci_low, self.estimate.ci_high
        if low is None or high is None:
            return "no estimate"
        if high < self.target:
            return "below target"
        return "meets target" if low >= self.target else "unclear"

    @property
    def change(self) -> float | None:
        """Accuracy now minus accuracy in the period before; None where either is unknown."""
        if self.previous is None or self.previous.accuracy is None or self.estimate.accuracy is None:
            return None
        return self.estimate.accuracy - self.previous.accuracy


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """How good the published predictions of one context were, over all its labels so far, by one domain or all."""

    model: str
    fingerprint: str
    score: Metric


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report says about ``[start, end)`` of event time; ``silent`` domains had estimates only before."""

    start: float
    end: float
    n_events: int
    n_labels: int
    domains: tuple[DomainReport, ...]
    silent: tuple[str, ...]
    alerts: tuple[Alert, ...]
    acquisition: Acquisition | None
    scores: tuple[ScoreReport, ...]
    driftgauge_version: str


def make_report(
    reader: Reader, start: float, end: float, targets: Mapping[str, float] | None = None, default_target: float = 0.8
) -> Report:
    """Read the report of ``[start, end)`` from a store.

    Parameters
    ----------
    start, end : UTC seconds of event time; the span of the same length before ``start`` is compared with it
    targets : accuracy wanted by domain, in [0, 1]; ``default_target`` for the others
    """
    targets = targets or {}
    now, before = _newest(reader.estimates(start, end)), _newest(reader.estimates(2 * start - end, start))
    domains = [DomainReport(e, before.get(key), targets.get(e.domain, default_target)) for key, e in now.items()]
    domains.sort(key=lambda d: (VERDICTS.index(d.verdict), d.estimate.domain, d.estimate.fingerprint))
    counts = reader.counts(start, end).values()
    return Report(
        start=start,
        end=end,
        n_events=sum(count.n_events for count in counts),
        n_labels=sum(count.n_labels for count in counts),
        domains=tuple(domains),
        silent=tuple(sorted({key[0] for key in before} - {key[0] for key in now})),
        alerts=tuple(reader.alerts(start, end)),
        acquisition=reader.latest_acquisition(),
        scores=tuple(_scores(contexts_saved(reader.state("context/")))),
        driftgauge_version=version("driftgauge"),
    )


def latest_period(reader: Reader, period_s: float) -> tuple[float, float]:
    """Start and end of the period up to the newest window; ConnectorError when there is no estimate at all."""
    ends = [estimate.window_end for estimate in reader.latest_estimates()]
    if not ends:
        raise ConnectorError("the store holds no estimate yet, so there is nothing to report", retriable=True)
    return max(ends) - period_s, max(ends)


def _scores(contexts: Mapping[str, Mapping[str, bytes]]) -> Iterator[ScoreReport]:
    for fingerprint, parts in sorted(contexts.items()):
        for score in record_of(parts).metrics:
            if score.classifier == "published" and score.n:
                yield ScoreReport(context_model(parts), fingerprint, score)


def _newest(estimates: Sequence[Estimate]) -> dict[SeriesKey, Estimate]:
    """The estimate with the latest window of every domain in a context; they come by window end."""
    return {estimate.series: estimate for estimate in estimates}
