"""An agent over a store, and label lists in it, for tests of the round trip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.service import build, build_pipeline
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.models.events import Context, Event, Generation
from driftgauge.models.outputs import LabelList, LabelRequest, Output
from tests.pipeline.logs import signal
from tests.store.examples import label_list as example

HOUR_S = 3_600.0
PERIOD_END = HOUR_S * (time.time() // HOUR_S)
"""The real Label Studio stamps annotations with its clock, so responses are of the hour before."""


class Agent:
    """The main line over a store."""

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        self.url, self.settings = url, settings or Settings()

    def take(self, events: Sequence[Event]) -> None:
        """Apply events in one transaction."""
        settings = self.settings
        with closing(build.store(settings, self.url)) as store, store.transaction() as memory:
            memory.emit(Pipeline.resume(build_pipeline.pipeline_settings(settings), memory).step(events, memory))

    def emit(self, outputs: Sequence[Output]) -> None:
        """Store outputs as if the main line had made them."""
        with closing(build.store(Settings(), self.url)) as store, store.transaction() as memory:
            memory.emit(outputs)

    def truths(self) -> dict[str, tuple[float, float]]:
        """The resolved label and its weight, by response id."""
        with closing(build.store(Settings(), self.url)) as store, store.transaction() as memory:
            ids = [f"{domain}-{i}" for domain in ("law", "tax") for i in range(100)]
            return {
                key: (row.correct, row.weight)
                for key, row in memory.responses(ids).items()
                if row.label_kind == "designed"
            }

    def queries(self) -> StoreQueries:
        return open_queries(self.url)


def responses(domain: str, n: int) -> list[Generation]:
    """Responses of the hour before `PERIOD_END`, ids ``law-0``, ``law-1`` …."""
    rng = np.random.default_rng(1)
    start = PERIOD_END - HOUR_S
    return [Generation(f"{domain}-{i}", start + i, domain, Context(model="m"), signal(rng, 9)) for i in range(n)]


def label_list(domain: str, n: int, *, rank: int = 1, period_end: float = PERIOD_END) -> LabelList:
    """A list of ``n`` of 100 responses, in the order of their numbers."""
    requests = tuple(
        LabelRequest(i + 1, f"{domain}-{i}", period_end - HOUR_S + i, n / 100, 0.25, (f"trace-{domain}-{i}",))
        for i in range(n)
    )
    expires = period_end + 24 * HOUR_S
    return example(domain=domain, period_end=period_end, expires=expires, rank=rank, requests=requests)


def decoded(lines: Sequence[bytes]) -> list[Event]:
    return Decoder().decode([Record("labels", 0, n, None, line) for n, line in enumerate(lines)])
