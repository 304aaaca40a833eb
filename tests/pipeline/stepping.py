"""A pipeline that takes one event a batch, and short ways to make events for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import AnnotatorKind, Context, Event, Generation, Label, Rejected
from driftgauge.models.outputs import Estimate, Output
from driftgauge.models.rows import ResponseRow
from driftgauge.models.windows import WindowSpec
from tests.pipeline.logs import signal

T0 = 960_000.0
SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=120.0, window_events=60, hop_s=60.0),
    min_events=2,
    label_horizon_s=500.0,
    max_pending_labels=3,
)


class Agent:
    """A pipeline with a store, one event a batch."""

    def __init__(self, settings: PipelineSettings = SETTINGS) -> None:
        self.settings = settings
        self.store = MemoryStore()
        self.pipeline = Pipeline(settings)
        self.said: list[Output] = []

    @property
    def state(self) -> State:
        return self.pipeline.state

    def take(self, *events: Event) -> list[Output]:
        said: list[Output] = []
        for event in events:
            with self.store.transaction() as transaction:
                outputs = self.pipeline.step([event], transaction)
                transaction.emit(outputs)
            said += outputs
        self.said += said
        return said

    def restart(self, settings: PipelineSettings | None = None) -> None:
        self.settings = settings or self.settings
        with self.store.transaction() as transaction:
            self.pipeline = Pipeline.resume(self.settings, transaction)

    def row(self, name: str) -> ResponseRow:
        with self.store.transaction() as transaction:
            return transaction.responses([name])[name]

    def stored_labels(self, name: str) -> list[Label]:
        with self.store.transaction() as transaction:
            return transaction.labels([name]).get(name, [])

    def window(self, end: float) -> Estimate:
        return [e for e in self.said if isinstance(e, Estimate) and e.window_end == end][-1]


def response(i: int, at: float) -> Generation:
    return Generation(f"r{i}", at, "a", Context(model="m"), signal(np.random.default_rng(i), 8))


def responses(n: int = 4, start: float = T0) -> list[Event]:
    return [response(i, start + i) for i in range(n)]


def label(
    name: str, of: int, correct: float | None, *, at: float = T0 + 30, by: str = "", kind: AnnotatorKind = "human",
    supersedes: str | None = None, probability: float | None = None, source: str = "", topic: str = "",
) -> Label:  # fmt: skip
    return Label(name, f"r{of}", at, correct, kind, by, probability, supersedes, source, topic)


def rejected(outputs: Sequence[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Rejected)]
