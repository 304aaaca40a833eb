"""The metrics of the agent for Prometheus. Owns the metric names, which are a contract.

`Metrics` observes the loop and keeps the newest values; series are made only when the registry is scraped. Counters
are the pipeline's own (`driftgauge.agent.outlets.counter_metrics`). The store keeps them, so they continue after a
restart of the agent. An unknown value has no sample: a zero never means "no estimate". Live domains are shown, also
right after a restart. Bounded: at most ``max_domains`` domains in contexts are shown, those with the most recent
estimates.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TypeAlias, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.counter_metrics import counter_metrics
from driftgauge.agent.outlets.observer import Observer
from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.models.account import Account
from driftgauge.models.classify.prequential import Metric as Score
from driftgauge.models.labels import LabelDelays
from driftgauge.models.outputs import ALERTS, Estimate, Output
from driftgauge.models.series import ALL_DOMAINS, SeriesKey

Source = TypeVar("Source")
Gauges: TypeAlias = tuple[tuple[str, str, Callable[[Source], float | None]], ...]
"""Name, text, and the function that returns the value; None: no sample."""

_ESTIMATE_LABELS = ("domain", "model", "context", "estimator")

_SCORE_LABELS = ("classifier", "domain", "model", "context")

_VALUES: Gauges[Estimate] = (
    ("driftgauge_accuracy_estimate_ratio", "Estimated accuracy.", lambda e: e.accuracy),
    ("driftgauge_accuracy_lower_ratio", "Lower end of the interval.", lambda e: e.ci_low),
    ("driftgauge_accuracy_upper_ratio", "Upper end of the interval.", lambda e: e.ci_high),
    ("driftgauge_accuracy_spread_ratio", "Largest difference between the single estimators.", lambda e: e.spread),
    ("driftgauge_accuracy_labelled_ratio", "Accuracy by labels alone.", lambda e: e.accuracy_labelled),
    ("driftgauge_window_events", "Usable responses in the window.", lambda e: e.n_events),
    ("driftgauge_window_labels", "Labels in the window.", lambda e: e.n_labels),
)


_SCORES: Gauges[Score] = (
    ("driftgauge_classifier_labels", "Labels behind the scores of a classifier.", lambda s: s.n),
    ("driftgauge_brier_score_ratio", "Mean squared error of predictions made before their label.", lambda s: s.brier),
    ("driftgauge_log_loss_nats", "Mean log loss of predictions made before their label.", lambda s: s.log_loss),
    ("driftgauge_auroc_ratio", "How well predictions rank right above wrong responses.", lambda s: s.auroc),
    ("driftgauge_calibration_error_ratio", "Mean gap of predicted and true share.", lambda s: s.calibration_error),
    ("driftgauge_calibration_error_lower_ratio", "Lower end of its interval.", lambda s: s.calibration_low),
    ("driftgauge_calibration_error_upper_ratio", "Upper end of its interval.", lambda s: s.calibration_high),
)
SCORES_EVERY_S = 1.0


class Metrics(Observer, Collector):
    """An observer of the loop and a collector of the registry it is given.

    Examples
    --------
    >>> registry = CollectorRegistry()
    >>> metrics = Metrics(registry)
    >>> metrics.lag({TopicPartition("labels", 0): 7})
    >>> registry.get_sample_value("driftgauge_consumer_lag_records", {"topic": "labels", "partition": "0"})
    7
    """

    def __init__(
        self, registry: CollectorRegistry, *, max_domains: int = 1_000, now: Callable[[], float] = time.time
    ) -> None:
        self.max_domains = max_domains
        self._now = now
        self._lock = threading.Lock()
        self._counters: Counter[str] = Counter()
        self._gauges: dict[str, tuple[str, float]] = {}
        self._records: Counter[str] = Counter()
        self._outcomes: dict[str, int] = {}
        self._batches = 0
        self._series_dropped = 0
        self._is_waiting = False
        self._lag: Mapping[TopicPartition, int] = {}
        self._newest: dict[SeriesKey, Estimate] = {}
        self._alarms: dict[SeriesKey, bool] = {}
        self._firing: Counter[str] = Counter()
        self._targets: dict[str, float] = {}
        self._label_delays = LabelDelays()
        self._scores: list[tuple[list[str], Score]] = []
        self._scored_at = self._committed_at = -math.inf
        self._progress_at = now()
        registry.register(self)

    def resumed(self, state: State) -> None:
        """Show what the store remembers: estimates, alarms and counters stay while the agent restarts."""
        newest = [domain.last_estimate for domain in state.domains.values() if domain.last_estimate]
        with self._lock:
            self._take(state)
            for estimate in sorted(newest, key=lambda estimate: (estimate.window_end, estimate.series)):
                self._note(estimate)

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:
        """Note a committed batch."""
        with self._lock:
            self._batches += 1
            self._committed_at = self._progress_at = self._now()
            self._records.update(record.topic for record in records)
            self._take(state)
            for output in outputs:
                if isinstance(output, Estimate) and output.series not in state.retired.domains:
                    self._note(output)

    def _take(self, state: State) -> None:
        self._counters = state.counters.copy()
        self._gauges = self._state_gauges(state)
        self._firing = Counter(i.kind for i, alert in state.alerts.open.items() if alert.state == "firing")
        self._alarms = {key: d.watch.is_raised for key, d in state.domains.items() if d.watch.n_labels}
        self._targets = {key.domain: d.watch.target for key, d in state.domains.items()}
        self._label_delays = LabelDelays(list(state.label_delays.counts), state.label_delays.total_s)
        if self._now() >= self._scored_at + SCORES_EVERY_S:  # takes some 30 ms with a thousand domains
            self._scores, self._scored_at = list(_scores(state)), self._now()
        for series in self._newest.keys() & state.retired.domains.keys():
            del self._newest[series]

    def account(self, account: Account) -> None:
        """Note what became of the records since the start."""
        with self._lock:
            self._outcomes = {
                "used": account.used,
                "passed_over": account.passed_over,
                "dead_letter": account.n_dead,
                "tombstone": account.tombstones,
            }

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """Note the number of records not yet read, by partition."""
        with self._lock:
            self._lag = dict(lag)

    def failure(self, error: ConnectorError | None) -> None:
        """Note whether the loop waits because of an error."""
        with self._lock:
            self._is_waiting = error is not None
            self._progress_at = self._now()

    def collect(self) -> Iterator[Metric]:
        """Make all series; called by the registry on every scrape."""
        with self._lock:
            counters, loop = counter_metrics(self._counters), self._about_the_loop()
            families = [*counters, *loop, *self._estimates(), *self._classifiers()]
        yield from families

    def _note(self, estimate: Estimate) -> None:
        """Keep the estimate of the newest window of a series; a revised estimate of a past window is not shown."""
        key = estimate.series
        known = self._newest.pop(key, estimate)
        self._newest[key] = estimate if estimate.window_end >= known.window_end else known
        if len(self._newest) > self.max_domains:
            del self._newest[next(iter(self._newest))]
            self._series_dropped += 1

    def _state_gauges(self, state: State) -> dict[str, tuple[str, float]]:
        return {
            "driftgauge_watermark_timestamp_seconds": ("How far event time has advanced.", state.watermark),
            "driftgauge_checkpoint_timestamp_seconds": ("When the last batch was committed.", self._committed_at),
            "driftgauge_domains": ("Live domains, at most bounds.max_domains.", len(state.names)),
            "driftgauge_contexts": ("Live contexts, at most context.max_fingerprints.", len(state.contexts)),
            "driftgauge_stale_windows": ("Past windows waiting to be estimated again.", state.n_stale),
            "driftgauge_annotator_error_ratio": (
                "Share of labels that are wrong, by how annotators of the same responses disagree.",
                state.annotator_pairs.error_rate if state.annotator_pairs.n else -math.inf,
            ),
            "driftgauge_labels_pending": ("Labels waiting for their response.", state.n_pending),
            "driftgauge_labels_pending_oldest_timestamp_seconds": (
                "Event time of the oldest label that waits for its response, at the latest boundary.",
                _oldest_pending(state),
            ),
        }

    def _about_the_loop(self) -> Iterator[Metric]:
        records = CounterMetricFamily("driftgauge_records", "Records read since the start.", labels=["topic"])
        for topic, count in self._records.items():
            records.add_metric([topic], count)
        outcomes = CounterMetricFamily(
            "driftgauge_records_accounted",
            "Records since the start by what became of them: used, passed_over, dead_letter, tombstone.",
            labels=["outcome"],
        )
        for outcome, count in self._outcomes.items():
            outcomes.add_metric([outcome], count)
        lag = GaugeMetricFamily(
            "driftgauge_consumer_lag_records", "Records not yet read.", labels=["topic", "partition"]
        )
        for place, n_records in self._lag.items():
            lag.add_metric([place.topic, str(place.partition)], n_records)
        info = GaugeMetricFamily("driftgauge_build_info", "Always 1.", labels=["version"])
        info.add_metric([version("driftgauge")], 1)
        yield from (records, outcomes, lag, info)
        yield CounterMetricFamily("driftgauge_batches", "Batches committed since the start.", self._batches)
        yield CounterMetricFamily("driftgauge_series_dropped", "Domains no longer shown here.", self._series_dropped)
        yield GaugeMetricFamily(
            "driftgauge_waiting", "1 while the agent waits for a broker or a database.", float(self._is_waiting)
        )
        yield GaugeMetricFamily(
            "driftgauge_progress_timestamp_seconds",
            "When the loop last finished a round or began to wait; at first when the agent started.",
            self._progress_at,
        )
        for name, (text, value) in self._gauges.items():
            if value > float("-inf"):
                yield GaugeMetricFamily(name, text, value)

    def _estimates(self) -> Iterator[Metric]:
        yield from _families(_VALUES, _ESTIMATE_LABELS, [(_labels(e), e) for e in self._newest.values()])
        status = GaugeMetricFamily(
            "driftgauge_estimate_status",
            "1 for the status of the newest estimate.",
            labels=[*_ESTIMATE_LABELS, "status"],
        )
        for estimate in self._newest.values():
            status.add_metric([*_labels(estimate), estimate.status], 1)
        targets = GaugeMetricFamily(
            "driftgauge_accuracy_target_ratio", "Target of the accuracy of a live domain.", labels=["domain"]
        )
        for domain, target in self._targets.items():
            targets.add_metric([domain], target)
        firing = GaugeMetricFamily("driftgauge_alerts_firing", "Alerts that fire now.", labels=["kind", "severity"])
        for kind, severity in ALERTS.items():
            if severity != "info":  # which have no end
                firing.add_metric([kind, severity], self._firing[kind])
        yield from (status, targets, firing, self._alert_state())

    def _alert_state(self) -> Metric:
        """The state of the accuracy alarms. A domain without labels has no sample, because its state is unknown."""
        text = "1 while labels prove accuracy below target, else 0."
        family = GaugeMetricFamily("driftgauge_alert_state", text, labels=["domain", "model", "context", "kind"])
        for key, estimate in self._newest.items():
            if key in self._alarms:
                family.add_metric([*_labels(estimate)[:3], "below_target"], float(self._alarms[key]))
        return family

    def _classifiers(self) -> Iterator[Metric]:
        delays = HistogramMetricFamily("driftgauge_label_delay_seconds", "Event time from a response to its label.")
        bounds = self._label_delays.cumulative()
        buckets = [(floatToGoString(bound), n) for bound, n in bounds]  # type: ignore[no-untyped-call]  # the library's
        delays.add_metric([], buckets, self._label_delays.total_s)
        yield delays
        yield from _families(_SCORES, _SCORE_LABELS, self._scores)


def _oldest_pending(state: State) -> float:
    """Event time; -inf where none waits, or where those of other agents wait too, which never meet a response here."""
    is_shared = not state.settings.selection.is_everything
    return -math.inf if is_shared or state.oldest_pending is None or not state.n_pending else state.oldest_pending


def _families(
    gauges: Gauges[Source], labels: Sequence[str], samples: Sequence[tuple[list[str], Source]]
) -> Iterator[Metric]:
    """One family for each gauge, with a sample for every source whose value is known."""
    for name, text, value_of in gauges:
        family = GaugeMetricFamily(name, text, labels=labels)
        for values, source in samples:
            if (value := value_of(source)) is not None:
                family.add_metric(values, value)
        yield family


def _scores(state: State) -> Iterator[tuple[list[str], Score]]:
    """Prequential scores of the published predictions and of every classifier, with the values of `_SCORE_LABELS`."""
    for fingerprint, context in state.contexts.items():
        for score in context.committee.metrics():
            domain = ALL_DOMAINS if score.domain is None else score.domain
            yield [score.classifier, domain, context.model, fingerprint], score


def _labels(estimate: Estimate) -> list[str]:
    return [estimate.domain, estimate.model, estimate.fingerprint, estimate.estimator]
