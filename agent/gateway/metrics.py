"""What the gateway counts, and its metrics for Prometheus. Owns the metric names, which are a contract.

`Counts` are plain numbers that the doors increase; series are made only when the registry is scraped. All counts are
those of one worker since its start. No label has a value that comes from a request: neither domains nor models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftgauge.agent.gateway.body_parser import BodyParser
from driftgauge.agent.gateway.breaker import Breaker
from driftgauge.connectors.capture.outbox import Outbox
from driftgauge.connectors.capture.publisher import Publisher


@dataclass(slots=True)
class Counts:
    """Numbers of one worker since its start, increased by the doors.

    Attributes
    ----------
    requests : by kind: ``captured`` (asked by us), ``observed`` (the client asked itself), ``passed``, and those to
        doors, ``labels`` and ``events``
    passed : requests passed on unread although their endpoint is known, by reason
    asked : requests that were asked, by `Outcome` of the breaker
    sent_again : requests whose own bytes were sent after a refusal
    lost : answers without an event, by reason
    names : requests of which a name was not used, by problem
    labels, events : requests to the doors for labels and for payloads, by outcome
    stripped_bytes : bytes of log-probabilities that were taken out of answers
    unreadable_lines : lines of streams that went out as they came because they could not be read
    errors : failures of the gateway itself, after which the request was passed on
    open_requests : requests that are being answered
    open_bytes : bytes that the unfinished answers hold
    loop_lag_s : how late the event loop was at the last look
    """

    requests: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0
    stripped_bytes: int = 0
    unreadable_lines: int = 0
    errors: int = 0
    open_requests: int = 0
    open_bytes: int = 0
    loop_lag_s: float = 0.0


_BY_LABEL: tuple[tuple[str, str, str, Callable[[Counts], Mapping[str, int]]], ...] = (
    ("requests", "kind", "Requests: captured, observed, passed, labels, events.", lambda c: c.requests),
    ("passed", "reason", "Requests to a known endpoint that were passed on unread.", lambda c: c.passed),
    ("asked", "outcome", "Requests asked for log-probabilities: got, not_got, refused, failed.", lambda c: c.asked),
    ("names_refused", "reason", "Requests of which the domain was not used.", lambda c: c.names),
    ("label_requests", "outcome", "Requests with labels.", lambda c: c.labels),
    ("event_requests", "outcome", "Requests with payloads of LiteLLM.", lambda c: c.events),
)
_COUNTERS: tuple[tuple[str, str, Callable[[Counts], int]], ...] = (
    ("sent_again", "Requests whose own bytes were sent after a refusal.", lambda c: c.sent_again),
    ("stripped_bytes", "Bytes of log-probabilities taken out of answers.", lambda c: c.stripped_bytes),
    ("unreadable_lines", "Lines of streams that went out as they came.", lambda c: c.unreadable_lines),
    ("errors", "Failures of the gateway itself; the request was passed on.", lambda c: c.errors),
)
_GAUGES: tuple[tuple[str, str, Callable[[Counts], float]], ...] = (
    ("open_requests", "Requests that are being answered.", lambda c: c.open_requests),
    ("open_bytes", "Bytes that unfinished answers hold.", lambda c: c.open_bytes),
    ("loop_lag_seconds", "How late the event loop was at the last look.", lambda c: c.loop_lag_s),
)


class GatewayMetrics(Collector):
    """A collector of the registry it is given.

    Examples
    --------
    >>> registry, counts = CollectorRegistry(), Counts()
    >>> metrics = GatewayMetrics(registry, counts, outbox=Outbox(1 << 20), breaker=Breaker())
    >>> counts.requests["passed"] += 1
    >>> registry.get_sample_value("driftgauge_gateway_requests_total", {"kind": "passed"})
    1
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        counts: Counts,
        *,
        outbox: Outbox,
        breaker: Breaker,
        publisher: Publisher | None = None,
        parser: BodyParser | None = None,
    ) -> None:
        self._counts, self._outbox, self._breaker = counts, outbox, breaker
        self._publisher, self._parser = publisher, parser
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Make all series; called by the registry on every scrape."""
        for name, label, text, values in _BY_LABEL:
            yield _counter(name, text, label, values(self._counts))
        lost = Counter(self._counts.lost) + Counter(self._parser.lost() if self._parser else {})
        yield _counter("answers_lost", "Answers, or choices of some, that give no event.", "reason", lost)
        for name, text, number in _COUNTERS:
            yield _counter(name, text, "", {"": number(self._counts)})
        for name, text, value in _GAUGES:
            yield _gauge(name, text, value(self._counts))
        yield from self._of_events()
        yield from self._of_bodies()
        yield _counter("pauses", "Pauses of asking, by cause.", "reason", dict(self._breaker.pauses))
        yield _gauge("paused_kinds", "Kinds of request for which asking pauses.", len(self._breaker.paused()))

    def _of_events(self) -> Iterator[Metric]:
        counts = self._outbox.counts()
        yield _counter("events_captured", "Events and labels given to the outbox.", "", {"": counts.captured})
        yield _counter("events_published", "Those that the broker acknowledged.", "", {"": counts.published})
        yield _counter("events_dropped", "Those that were dropped.", "reason", counts.dropped)
        yield _gauge("events_queued", "Those that are not acknowledged.", counts.queued)
        yield _gauge("outbox_bytes", "Bytes of the events that are not acknowledged.", counts.queued_bytes)
        yield _gauge("outbox_oldest_seconds", "Seconds that the oldest of them has waited.", counts.oldest_s)
        if self._publisher is not None:
            yield _counter("publish_failures", "Failed attempts to publish.", "", {"": self._publisher.failures})
            yield _gauge("publisher_alive", "1 while the publishing thread runs.", self._publisher.is_alive)

    def _of_bodies(self) -> Iterator[Metric]:
        if self._parser is None:
            return
        counts = self._parser.counts()
        outcomes = {name: counts[name] for name in ("parsed", "failed", "dropped")}
        yield _counter("bodies", "Whole answers by what became of them.", "outcome", outcomes)
        yield _gauge("bodies_waiting", "Whole answers that wait to be parsed.", counts["waiting"])
        yield _gauge("bodies_waiting_bytes", "Their bytes.", counts["waiting_bytes"])
        yield _counter("parser_restarts", "Restarts of the parsing process.", "", {"": counts["restarts"]})


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"driftgauge_gateway_{name}", text, labels=[label] if label else [])
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"driftgauge_gateway_{name}", text, value=value)
