"""The agent of the demo with its metrics page, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from driftgauge.agent.demo.embedded import PLAN, bundled, settings_in
from driftgauge.agent.outlets.health import Health, routes
from driftgauge.agent.outlets.http import Server, listen, pages
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service import build_decoding, build_pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.replay import open_files
from driftgauge.connectors.base import Record, Source
from driftgauge.connectors.testing import MemorySource, MemoryStore, NoSink

WAITING = b"""{"type": "label", "version": 1, "label_id": "l", "response_id": "unknown", "correct": true,
    "event_time": "2026-01-01T00:00:00Z"}"""
BEFORE_TRAFFIC = [Record("labels", 0, 0, None, WAITING), Record("labels", 0, 1, None, b"not an event")]
"""The demo has no dead letters and no labels that wait; these records add both."""


@dataclass(frozen=True, slots=True)
class Page:
    """An agent that has not begun to read, and its metrics page."""

    registry: CollectorRegistry
    address: str
    loops: Sequence[Loop]

    @property
    def n_batches(self) -> float:
        """Batches that the agent has committed."""
        return self.registry.get_sample_value("driftgauge_batches_total") or 0.0


@contextmanager
def agent_with_page(folder: Path) -> Iterator[Page]:
    """An agent behind the real HTTP server. It reads the records above, and then the traffic of the demo."""
    settings = settings_in(folder)
    registry, health, store = CollectorRegistry(), Health(), MemoryStore()
    observers: list[Observer] = [Metrics(registry), health]

    def reading(source: Source) -> Loop:
        parts = build_pipeline.pipeline_settings(settings), build_decoding.decoder(settings), store
        return Loop(*parts, lambda: source, NoSink, observers=observers)

    sources = MemorySource(BEFORE_TRAFFIC), open_files(bundled(), PLAN, seed=0).source
    with closing(Server(pages(routes(health, registry)), listen("127.0.0.1", 0))) as server:
        yield Page(registry, f"127.0.0.1:{server.port}", [reading(source) for source in sources])
