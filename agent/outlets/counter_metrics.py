"""The counters of the pipeline as metrics for Prometheus. Owns their names, which are a contract.

Every counter name of the pipeline belongs to one metric. Bounded by the names that the pipeline counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from driftgauge.models.outputs import ALERTS

_REASONS = {
    "rejected_": ("driftgauge_events_rejected", "reason", "Records and events that became dead letters."),
    "unusable_": ("driftgauge_responses_unusable", "reason", "Responses counted but not estimated."),
    "signal_": ("driftgauge_signal_problems", "reason", "Tokens or entries of log-probabilities with a problem."),
    "response_": ("driftgauge_response_problems", "reason", "Responses with a field that could not be used."),
    "labels_": ("driftgauge_labels", "outcome", "Labels by their effect: joined, revised, without_effect."),
}
"""Prefix of a pipeline counter -> metric, label and text; the rest of the counter's name is the label's value."""

_ALERTS = "alerts_"
"""Prefix of the counters of alerts; the rest of the counter's name is the kind."""

_BOUNDS = {
    "bounds.max_domains": ("domains_retired", "domain_overflow"),
    "bounds.max_in_flight": ("rejected_too_many_in_flight",),
    "context.max_fingerprints": ("contexts_retired",),
    "topics.max_topics": ("topics_left", "topics_full"),
    "labels.max_pending": ("rejected_too_many_pending_labels",),
    "slices.max_estimates": ("slices_left_out",),
    "kafka.max_unpacked_bytes": ("rejected_batch_too_large",),
}
"""Setting -> the pipeline counters of what its bound caused."""


def counter_metrics(counters: Counter[str]) -> Iterator[Metric]:
    """The metrics of all counters. Kinds of alerts and bounds have a sample before they are first counted.

    Prometheus sees an increase only between two samples: without a 0 it would miss the first alert of a kind.

    Examples
    --------
    >>> alerts = list(counter_metrics(Counter({"alerts_drift": 3})))[-2]
    >>> [s.value for s in alerts.samples if s.labels == {"kind": "drift", "severity": "warning"}]
    [3]
    """
    events = CounterMetricFamily("driftgauge_events", "Events by outcome.", labels=["outcome"])
    reasons = {p: CounterMetricFamily(n, text, labels=[label]) for p, (n, label, text) in _REASONS.items()}
    for name, count in sorted(counters.items()):
        prefix = next((p for p in _REASONS if name.startswith(p)), None)
        if prefix is not None:
            reasons[prefix].add_metric([name.removeprefix(prefix)], count)
        elif not name.startswith(_ALERTS):
            events.add_metric([name], count)
    alerts = CounterMetricFamily("driftgauge_alerts", "Alerts by kind and severity.", labels=["kind", "severity"])
    for kind, severity in ALERTS.items():
        alerts.add_metric([kind, severity], counters[_ALERTS + kind])
    bounds = CounterMetricFamily(
        "driftgauge_bound_reached", "How often a bound was reached, by its setting.", labels=["setting"]
    )
    for setting, names in _BOUNDS.items():
        bounds.add_metric([setting], sum(counters[name] for name in names))
    yield from (events, *reasons.values(), alerts, bounds)
