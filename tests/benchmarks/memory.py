"""How much memory a thousand domains take, with windows that have just begun and with full ones."""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.events import Context, Generation, Signal
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.windows import WindowSpec

N_BEGUN, N_FULL, N_NEW, ROUNDS = 100, 2, 40, 40
WINDOWS = WindowSpec()
ROW_BYTES = 4 * DEFAULT_SPEC.width + 3 * 8
"""Of one response in a window: its features, time, label and weight."""


def measure() -> dict[str, dict[str, Any]]:
    """MiB per thousand domains; the baseline is what the columns of their windows hold."""
    return {
        "memory_per_thousand_domains": _result(N_BEGUN, N_NEW),
        "memory_per_thousand_domains_full": _result(N_FULL, WINDOWS.window_events),
    }


def _result(n_domains: int, n_responses: int) -> dict[str, Any]:
    value, baseline = (
        1_000 * size / 2**20 for size in (_bytes_per_domain(n_domains, n_responses), n_responses * ROW_BYTES)
    )
    return {
        "value": round(value, 1),
        "unit": "MiB",
        "baseline": round(baseline, 1),
        "ratio": round(value / baseline, 3),
    }


def _bytes_per_domain(n_domains: int, n_responses: int) -> float:
    with tempfile.TemporaryDirectory() as folder, closing(_store(folder)) as store:
        pipeline = Pipeline(PipelineSettings(windows=WINDOWS))
        _play(pipeline, store, 0, 1, n_responses)  # what every agent has
        tracemalloc.start()
        before = _traced_bytes()
        _play(pipeline, store, 1, n_domains, n_responses)
        taken = _traced_bytes() - before
        tracemalloc.stop()
    return taken / n_domains


def _store(folder: str) -> SqlStore:
    return open_store(f"sqlite:///{Path(folder) / 'bench.db'}", topics=Topics())


def _play(pipeline: Pipeline, store: SqlStore, first: int, n_domains: int, n_responses: int) -> None:
    """Responses of some domains, round after round within one window, some rounds in a batch."""
    rng = np.random.default_rng(first)
    for start in range(0, n_responses, ROUNDS):
        events = [
            _response(rng, first + i, at)
            for at in range(start, min(start + ROUNDS, n_responses))
            for i in range(n_domains)
        ]
        with store.transaction() as memory:
            pipeline.step(events, memory)


def _response(rng: np.random.Generator, domain: int, at: int) -> Generation:
    signal = Signal(features=rng.random(DEFAULT_SPEC.width, dtype=np.float32))
    return Generation(f"{domain}-{at}", 1.7e9 + at, f"domain-{domain}", Context(model="m"), signal)


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
