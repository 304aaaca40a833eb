"""How long one search for weak segments takes, at its bounds: 5,000 labels and 20,000 predictions of ten domains."""

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.searching import MAX_LABELS, MAX_RESPONSES, Searching
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.outputs import WeakSegments
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from tests.benchmarks.timing import seconds

N_DOMAINS = 10
DAY_S = 86_400.0
VALUES = {"language": 4, "template": 5, "tenant": 8, "route": 6}
_SETTINGS = PipelineSettings()


def measure() -> dict[str, Any]:
    """Processor seconds of one search on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'store.db'}", topics=Topics())
        with closing(store), store.transaction() as transaction:
            transaction.add_responses(_rows())
            batch = Batch(_SETTINGS, _state(), transaction)
            (taken,) = seconds(partial(_search, batch))
    return {"search_weak_segments": {"value": taken, "unit": "s", "baseline": None, "ratio": None}}


def _search(batch: Batch) -> None:
    batch.state.search_end = 0.0
    Searching(batch).close()
    if not any(isinstance(output, WeakSegments) for output in batch.outputs):
        raise AssertionError("nothing was searched")


def _state() -> State:
    state = State(_SETTINGS)
    state.contexts["f"] = ContextState(_SETTINGS, "m")
    state.boundary = state.event_time = DAY_S
    for i in range(N_DOMAINS):
        state.add_domain(state.new_domain(SeriesKey(f"d{i}", "f")))
    return state


def _rows() -> list[ResponseRow]:
    draw = np.random.default_rng(0)
    features = draw.gamma(2.0, 1.0, (MAX_RESPONSES, DEFAULT_SPEC.width)).astype(np.float32)
    return [
        ResponseRow(
            seq=i,
            id=f"r{i}",
            domain=f"d{i % N_DOMAINS}",
            fingerprint="f",
            event_time=i * DAY_S / MAX_RESPONSES,
            features=features[i],
            p_correct=float(draw.random()),
            classifier_version=1,
            n_tokens=8,
            slices={name: str(draw.integers(n)) for name, n in VALUES.items()},
            correct=float(draw.random() < 0.8) if draw.random() < MAX_LABELS / MAX_RESPONSES else np.nan,
        )
        for i in range(MAX_RESPONSES)
    ]
