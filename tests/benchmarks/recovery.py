"""How soon an agent is at work again after ``kill -9`` on a large store, and how its memory grows with what has come.

ROWS (1,000,000) responses are in the store when the writer is killed in the middle of a transaction. EVENTS (200,000)
of DOMAINS (100,000) domains go through the whole agent but the broker.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import NoSink
from driftgauge.models.events import Context, Generation, Label, Signal
from driftgauge.models.outputs import Output
from driftgauge.models.rows import ResponseRow
from tests.copying import replace

ROWS, EVENTS, DOMAINS = (
    int(os.environ.get(name, usual)) for name, usual in (("ROWS", 1e6), ("EVENTS", 2e5), ("DOMAINS", 1e5))
)
FEW, BATCH, N_DOMAINS = 10_000, 500, 100
START = 1.7e9


def measure() -> dict[str, dict[str, Any]]:
    """Seconds to resume, against a store of 10,000 rows; bytes an event adds in the second half of a long run."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (recovery_s(Path(folder) / f"{n}.db", n) for n in (FEW, ROWS))
        grown_mb, first_mb = growth_mb(Path(folder) / "memory.db")
    return {
        f"recovery_after_kill_at_{ROWS}_rows": _result(many, "s", few),
        f"memory_after_{EVENTS}_events_of_{DOMAINS}_domains": _result(grown_mb, "MB", first_mb),
    }


def _result(value: float, unit: str, baseline: float) -> dict[str, Any]:
    return {"value": round(value, 3), "unit": unit, "baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}


def recovery_s(path: Path, n_rows: int) -> float:
    """From opening the store that a killed process left to a pipeline that may take the next batch."""
    writer = [sys.executable, "-m", "tests.benchmarks.recovery", str(path), str(n_rows)]
    if subprocess.run(writer, check=False).returncode != -signal.SIGKILL:
        raise RuntimeError("the writer did not get to its end")
    began = time.perf_counter()
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store, store.transaction() as memory:
        Pipeline.resume(PipelineSettings(), memory)
        return time.perf_counter() - began


def write_and_die(path: Path, n_rows: int) -> None:
    """So many rows, a window in every domain, and death within the next transaction."""
    store = open_store(f"sqlite:///{path}", topics=Topics())
    features = np.random.default_rng(0).random((n_rows, 17), dtype=np.float32)
    pipeline = Pipeline(PipelineSettings())
    events = [_generation(n, f"d{n % N_DOMAINS}") for n in range(BATCH)]
    with store.transaction() as memory:
        pipeline.step(events, memory)
    fingerprint = next(iter(pipeline.state.contexts))
    for start in range(BATCH, n_rows, BATCH):
        with store.transaction() as memory:
            memory.add_responses([_row(n, features[n], fingerprint) for n in range(start, min(start + BATCH, n_rows))])
    with store.transaction() as memory:
        memory.add_responses([_row(n_rows + n, features[n], fingerprint) for n in range(BATCH)])
        memory.responses(["r0"])  # so that they are written, and not yet committed
        os.kill(os.getpid(), signal.SIGKILL)


def growth_mb(path: Path) -> tuple[float, float]:
    """Largest resident size after all events, and after the first tenth of them."""
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store:
        sizes = Sizes()
        Loop(PipelineSettings(), Decoder(), store, lambda: Flood(EVENTS), NoSink, observers=[sizes]).run()
    return sizes.peak_mb(), sizes.early_mb


class Sizes(Observer):
    """An observer that notes the largest resident size once a tenth has come."""

    early_mb = 0.0

    def __init__(self) -> None:
        self.n_records = 0

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        self.n_records += len(records)
        if not self.early_mb and self.n_records >= EVENTS // 10:
            self.early_mb = self.peak_mb()

    def peak_mb(self) -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Flood:
    """A source of small responses, domain by domain in turn, and a label for every tenth; it is made as it is read."""

    def __init__(self, n_events: int) -> None:
        self._records = self._made(n_events)
        self.is_exhausted = False

    def _made(self, n_events: int) -> Iterator[Record]:
        headers = (("content-type", b"application/msgpack"),)
        for n in range(n_events):
            event = _generation(n, f"d{n % DOMAINS}")
            value = encode_label(Label(f"l{n}", f"r{n - 5}", START + n, float(n % 3 > 0))) if n % 10 == 9 else None
            yield Record("events", 0, n, None, value or encode_generation(event), headers)

    def open(self, positions: Positions) -> None:
        """Nothing to find."""

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - it never waits
        records = [record for record, _ in zip(self._records, range(BATCH), strict=False)]
        self.is_exhausted = not records
        return records

    def commit(self, positions: Positions) -> None:
        """Nobody watches."""

    def lag(self) -> Mapping[TopicPartition, int]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


SIGNAL = Signal(chosen_logprobs=np.linspace(-2, -0.01, 20, dtype=np.float32))


def _generation(n: int, domain: str) -> Generation:
    return Generation(f"r{n}", START + n, domain, Context(model="m"), SIGNAL)


def _row(n: int, features: np.ndarray[Any, np.dtype[np.float32]], fingerprint: str) -> ResponseRow:
    return replace(
        ResponseRow(n, f"r{n}", f"d{n % N_DOMAINS}", fingerprint, START + n, features, 0.7, 1, 20), finish_reason="stop"
    )


if __name__ == "__main__":
    write_and_die(Path(sys.argv[1]), int(sys.argv[2]))
