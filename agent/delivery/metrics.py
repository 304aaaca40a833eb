"""Metrics of delivery, made at each scrape: alerts sent and skipped, failed attempts, and what waits, by sink."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftgauge.agent.delivery.courier import Alerts, Courier
from driftgauge.agent.delivery.repeater import Repeater
from driftgauge.connectors.base import ConnectorError

MAX_WAITING = 10_000
"""Largest number of waiting alerts that is counted."""

_COUNTERS = {
    "sent": "Alerts that a receiver took; an Alertmanager takes the same one again and again.",
    "failed": "Attempts that failed.",
    "skipped": "Alerts that a receiver will never take.",
}


class DeliveryMetrics(Collector):
    """The metrics of some sinks; without a store that can be read, what waits has no sample.

    Examples
    --------
    >>> [metric.name for metric in DeliveryMetrics([], None).collect()]  # doctest: +NORMALIZE_WHITESPACE
    ['driftgauge_delivery_sent', 'driftgauge_delivery_failed', 'driftgauge_delivery_skipped',
     'driftgauge_delivery_waiting', 'driftgauge_delivery_oldest_waiting_timestamp_seconds']
    """

    def __init__(self, sinks: Sequence[Courier | Repeater], alerts: Alerts | None) -> None:
        self._sinks, self._alerts = sinks, alerts

    def collect(self) -> Iterable[Metric]:
        """All metrics, now."""
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"driftgauge_delivery_{name}", text, labels=["sink"])
            for sink in self._sinks:
                counter.add_metric([sink.name], sink.counts[name])
            yield counter
        waiting = GaugeMetricFamily("driftgauge_delivery_waiting", "Alerts that a sink is to get.", labels=["sink"])
        oldest = GaugeMetricFamily(
            "driftgauge_delivery_oldest_waiting_timestamp_seconds",
            "Event time of the oldest alert that a sink is to get; no sample when none waits.",
            labels=["sink"],
        )
        for sink in self._sinks:
            self._add_waiting(sink, waiting, oldest)
        yield waiting
        yield oldest

    def _add_waiting(self, sink: Courier | Repeater, waiting: GaugeMetricFamily, oldest: GaugeMetricFamily) -> None:
        if self._alerts is None:
            return
        try:
            found = self._alerts.alerts_after(sink.cursor, MAX_WAITING)
        except ConnectorError:
            return
        times = [alert.event_time for alert in found if sink.wanted(alert)]
        waiting.add_metric([sink.name], len(times))
        if times:
            oldest.add_metric([sink.name], min(times))
