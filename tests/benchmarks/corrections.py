"""A bulk import of labels beside live traffic: how soon past windows are estimated again, and what live traffic sees.

36,000 labels of 30 days and 20 domains arrive at once, which changes every window of that time. The store is a SQLite
file, and live traffic comes in batches as the loop makes them. The baseline is that of live traffic before the import.
The run fails when a window is lost.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, islice
from statistics import median
from typing import Any

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import RECORDS_AT_ONCE
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.events import Arrival, Context, Event, Generation, Label, Signal
from driftgauge.models.outputs import Estimate

N_DAYS, N_DOMAINS, N_LABELS, PER_HOUR, BATCH = 30, 20, 36_000, 10, 500
HOUR_S, START = 3_600.0, 1_699_999_200.0
END = START + N_DAYS * 24 * HOUR_S
LIVE_PER_HOUR = 1_000


@dataclass
class Played:
    """Seconds of each step, and the past windows that were estimated."""

    steps: list[float] = field(default_factory=list)
    past: list[tuple[str, float]] = field(default_factory=list)


def measure() -> dict[str, dict[str, Any]]:
    """Windows estimated again, seconds until none was left, and the steps of live traffic meanwhile."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(f"sqlite:///{folder}/store.db", topics=Topics())) as store,
    ):
        pipeline = Pipeline(PipelineSettings())
        play(pipeline, store, responses(START, END, PER_HOUR))
        live = responses(END, math.inf, LIVE_PER_HOUR)
        before = play(pipeline, store, islice(live, LIVE_PER_HOUR * N_DOMAINS))
        play(pipeline, store, labels())
        marked, meanwhile = pipeline.state.n_stale, play(pipeline, store, islice(live, BATCH))
        while pipeline.state.n_due:
            play(pipeline, store, islice(live, BATCH), meanwhile)
    assert len(set(meanwhile.past)) == len(meanwhile.past) == marked
    return {
        "corrected_windows": result(marked, "windows"),
        "corrected_windows_rate": result(marked / sum(meanwhile.steps), "windows/s"),
        "live_step_while_windows_are_corrected": result(median(meanwhile.steps), "s", median(before.steps)),
        "longest_step_while_windows_are_corrected": result(max(meanwhile.steps), "s", max(before.steps)),
    }


def result(value: float, unit: str, baseline: float | None = None) -> dict[str, Any]:
    return {"value": value, "unit": unit, "baseline": baseline, "ratio": baseline and value / baseline}


def play(pipeline: Pipeline, store: SqlStore, events: Iterable[Event], played: Played | None = None) -> Played:
    """Play events in batches as large as the loop makes them."""
    played, events = played or Played(), iter(events)
    while batch := list(islice(events, RECORDS_AT_ONCE if pipeline.state.n_stale else BATCH)):
        began = time.perf_counter()
        with store.transaction() as memory:
            outputs = pipeline.step(batch, memory)
            memory.emit(outputs)
        played.steps.append(time.perf_counter() - began)
        estimates = (output for output in outputs if isinstance(output, Estimate) and output.window_end <= END)
        played.past.extend((estimate.domain, estimate.window_end) for estimate in estimates)
    return played


def responses(start: float, end: float, per_hour: int) -> Iterator[Event]:
    """Responses of every domain, ``per_hour`` each, with features drawn at random."""
    rng = np.random.default_rng(int(start))
    for i in count():
        at = start + i * HOUR_S / per_hour
        if at >= end:
            return
        for domain in range(N_DOMAINS):
            generation = Generation(f"{at}/{domain}", at, f"d{domain}", Context(model="m"), Signal())
            yield Arrival(generation, rng.gamma(2.0, 1.0, 17).astype(np.float32), "top_logprobs", n_tokens=100)


def labels() -> Iterator[Event]:
    """Labels of responses at equal distances, in order of time, as an export has them."""
    rng = np.random.default_rng(1)
    per_domain, n_moments = N_LABELS // N_DOMAINS, int((END - START) / HOUR_S * PER_HOUR)
    for i in range(per_domain):
        at = START + i * n_moments // per_domain * HOUR_S / PER_HOUR
        for domain in range(N_DOMAINS):
            yield Label(f"l{i}/{domain}", f"{at}/{domain}", END, float(rng.random() < 0.8))
