"""How long one step may hold everything else: a thousand domains with full windows, and labels for all.

The agent's pipeline on an SQLite store, with records in parts as in the loop. Each hour every domain has one response,
which is labelled at once: so there are boundaries with a thousand estimates, fits of the classifier and of the
estimator, and checks of the signal gate. The value is the longest step with what it publishes, the baseline the mean
of all, in CPU seconds: a virtual machine pauses now and then.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import ROWS_SCORED_AHEAD, in_parts
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.events import Context, Event, Generation, Label, Signal
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.rows import Rows
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.windows import WindowSpec

N_DOMAINS, N_ROWS, N_HOURS, N_RECORDS = 1_000, 2_000, 12, 500
DAY_S, HOUR_S = 86_400.0, 3_600.0
CONTEXT = Context(model="m", k=5)


def measure() -> dict[str, dict[str, Any]]:
    """Seconds of the longest step."""
    with tempfile.TemporaryDirectory() as folder:
        steps = _steps(Path(folder) / "bench.db")
    longest, mean = max(steps), float(np.mean(steps))
    return {"longest_step_1000_domains": {"value": longest, "unit": "s", "baseline": mean, "ratio": longest / mean}}


def _steps(file: Path) -> list[float]:
    """CPU seconds of each step of the loop."""
    windows, committee = WindowSpec(DAY_S, N_ROWS, HOUR_S), CommitteeSettings(gate_min_labels=10)
    pipeline = Pipeline(PipelineSettings(windows=windows, committee=committee))
    store, seconds, log = open_store(f"sqlite:///{file}", topics=Topics()), list[float](), _events()
    n_polls = 0
    while events := list(islice(log, N_RECORDS)):
        for part in in_parts(pipeline.state, events):
            began = time.process_time()
            with store.transaction() as transaction:
                transaction.emit(pipeline.step(part, transaction))
            while messages := store.outbox(1_000):
                store.acknowledge(messages[-1].seq)
            seconds.append(time.process_time() - began)
        began = time.process_time()
        pipeline.score_ahead(ROWS_SCORED_AHEAD)
        seconds[-1] += time.process_time() - began
        n_polls += 1
        if n_polls * N_RECORDS == 2 * N_DOMAINS:  # every domain is known: its window had traffic all day
            _fill_windows(pipeline)
    store.close()
    return seconds


def _events() -> Iterator[Event]:
    rng = np.random.default_rng(0)
    for hour in range(N_HOURS):
        for i in range(N_DOMAINS):
            at, name = DAY_S + (hour + i / N_DOMAINS) * HOUR_S, f"r{hour}-{i}"
            is_right = rng.random() < 0.7
            logits = np.sort(rng.normal(0, 3.0 if is_right else 1.0, (12, 5)), axis=1)[:, ::-1]
            top = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.01).astype(np.float32)
            yield Generation(name, at, f"d{i:03}", CONTEXT, Signal(top[:, 0].copy(), top))
            yield Label(f"l-{name}", name, at, float(is_right), inclusion_probability=1.0)


def _fill_windows(pipeline: Pipeline) -> None:
    """Give every domain the rows of a busy day before: half a day later its window is still full.

    They are in the buffers and not in the store.
    """
    rng, n = np.random.default_rng(1), 2 * N_ROWS
    seq, none, times = np.arange(n), np.full(n, np.nan), np.linspace(0, DAY_S, n, endpoint=False)
    ids = np.char.add("w", seq.astype(np.str_))
    for series, domain in pipeline.state.domains.items():
        features = rng.gamma(2.0, 1.0, (n, DEFAULT_SPEC.width)).astype(np.float32)
        columns = (np.full(n, series.domain), times, features, none, none, np.ones(n), np.full(n, {}, dtype=np.object_))
        domain.window.load(Rows(seq, ids, *columns))
