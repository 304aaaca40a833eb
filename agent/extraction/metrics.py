"""Metrics of an extractor, made at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftgauge.agent.extraction.extractor import Work

_COUNTERS = {
    "records": "Raw records that were published as features.",
    "responses": "Whole responses in them.",
    "pieces": "Pieces of responses in them.",
    "rejected": "Dead letters in them.",
    "refused": "Batches whose partitions moved before they were committed: others extract them again.",
}


class ExtractionMetrics(Collector):
    """The metrics of one extractor.

    Examples
    --------
    >>> [metric.name for metric in ExtractionMetrics(Work()).collect()][-3:]
    ['driftgauge_extract_read_bytes', 'driftgauge_extract_published_bytes', 'driftgauge_extract_lag_records']
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def collect(self) -> Iterable[Metric]:
        """All metrics, now."""
        work = self._work
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"driftgauge_extract_{name}", text, value=work.counts[name])
        yield CounterMetricFamily("driftgauge_extract_read_bytes", "Bytes of raw records.", value=work.bytes_read)
        yield CounterMetricFamily(
            "driftgauge_extract_published_bytes", "Bytes published for them.", value=work.bytes_published
        )
        lag = GaugeMetricFamily(
            "driftgauge_extract_lag_records", "Records not read yet.", labels=["topic", "partition"]
        )
        for (topic, partition), n in dict(work.lag).items():
            lag.add_metric([topic, str(partition)], n)
        yield lag
