"""A real Kafka broker for tests and benchmarks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftgauge.connectors.kafka.local_broker import KafkaBroker

SHORT_SESSION = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "300"}
"""Properties of a broker that is killed: it may come back only when its session has ended, by default after 9 s."""


@contextmanager
def broker_address() -> Iterator[str]:
    """Start a local broker and yield its address; ``DRIFTGAUGE_TEST_KAFKA`` names a running one to use instead."""
    given = os.environ.get("DRIFTGAUGE_TEST_KAFKA")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="gauge-kafka-") as folder, KafkaBroker(Path(folder)) as running:
        yield running.address
