"""The parts of one worker behind its door, from settings: started and closed together."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry

from driftgauge.agent.gateway import build
from driftgauge.agent.gateway.body_parser import BodyParser
from driftgauge.agent.gateway.exchange import Capture
from driftgauge.agent.gateway.metrics import Counts, GatewayMetrics
from driftgauge.agent.gateway.naming import Naming
from driftgauge.agent.gateway.wire.collect import collect_task
from driftgauge.agent.gateway.wire.stream import Memory
from driftgauge.config.settings import Settings


class Parts:
    """Capture, parser, outbox and publisher of one worker; their metrics go to the registry.

    Attributes
    ----------
    capture : what the proxy hands its requests to
    doors : those that are open
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        limits = settings.gateway.limits
        self.counts = Counts()
        self.outbox = build.outbox(settings)
        self.publisher = build.publisher(settings, self.outbox)
        put = build.put_generation(settings, self.outbox)
        self.parser = BodyParser(collect_task, put, max_bytes=limits.max_parser_bytes)
        self.memory = Memory(limits.max_open_bytes)
        self.doors = build.doors(settings, self.outbox, self.parser.put)
        breaker = build.breaker(settings)
        self.capture = Capture(
            rules=build.capture_rules(settings),
            naming=Naming(build.naming_rules(settings)),
            breaker=breaker,
            counts=self.counts,
            memory=self.memory,
            put=put,
            put_body=self.parser.put,
        )
        GatewayMetrics(
            registry,
            self.counts,
            outbox=self.outbox,
            breaker=breaker,
            publisher=self.publisher,
            parser=self.parser,
        )

    def start(self) -> None:
        """Start the threads. Neither a broker nor a model server is needed."""
        self.publisher.start()
        self.parser.start()

    def close(self, timeout_s: float) -> None:
        """Parse and publish what waits, for ``timeout_s`` at most; the rest is dropped and counted."""
        deadline = time.monotonic() + timeout_s
        self.parser.close(timeout_s)
        self.publisher.close(max(0.0, deadline - time.monotonic()))
