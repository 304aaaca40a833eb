"""Whether the agent keeps its speed on features while its store grows to a million responses of a day.

``features_at_a_million_rows``: responses for each processor second of the last tenth and (baseline) of the second one;
the first one warms up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.testing import NoSink
from tests.benchmarks.streaming import MSGPACK, packed_events

N, PARTS, STEP_S = 1_000_000, 10, 0.0864
N_KINDS, AT_ONCE = 400, 500


def measure() -> dict[str, dict[str, Any]]:
    """Results by name."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            None,
            {
                "kafka.topics.generations": "features",
                "kafka.topics.labels": "",
                "extract.topics": "raw",
                "extract.to": "features",
                "server.enabled": False,
                "store.url": f"sqlite:///{Path(folder)}/store.db",
            },
        )
        source = Growing(_kinds(settings))
        with closing(build.store(settings)) as store:
            pipeline, decoder = build_pipeline.pipeline_settings(settings), build_decoding.decoder(settings)
            Loop(pipeline, decoder, store, lambda: source, NoSink).run()
    rates = [N / PARTS / (after - before) for before, after in pairwise(source.cpu_s)]
    value, baseline = round(rates[-1]), round(rates[1])
    result = {"value": value, "unit": "responses/CPU s", "baseline": baseline, "ratio": round(value / baseline, 3)}
    return {"features_at_a_million_rows": result}


def _kinds(settings: Settings) -> list[dict[str, Any]]:
    """Events of the topic of features, as plain values."""
    extractor = build_decoding.record_extractor(settings)
    raw = [Record("raw", 0, at, key, value, tuple(MSGPACK)) for at, (key, value) in enumerate(packed_events(N_KINDS))]
    return [msgspec.msgpack.decode(message.value) for _, message in extractor.extract(raw, "features", 1)]


class Growing:
    """A topic of features with a day of responses, each made when it is read.

    ``cpu_s``: processor seconds without those that this took, at the start of each part and at the end.
    """

    def __init__(self, kinds: list[dict[str, Any]]) -> None:
        self._kinds, self._next, self._own_s = kinds, 0, 0.0
        self.cpu_s: list[float] = []

    def open(self, positions: Positions) -> None:
        assert not positions

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - it never makes a caller wait
        start = time.process_time()
        if self._next % (N // PARTS) == 0:
            self.cpu_s.append(start - self._own_s)
        records = [self._record(number) for number in range(self._next, min(self._next + AT_ONCE, N))]
        self._next += len(records)
        self._own_s += time.process_time() - start
        return records

    def _record(self, number: int) -> Record:
        event = self._kinds[number % N_KINDS]
        event["offset"] = number
        event["events"][0] |= {"id": f"response-{number:012}", "event_time": 1.7e9 + number * STEP_S}
        return Record("features", 0, number, None, msgspec.msgpack.encode(event), tuple(MSGPACK))

    @property
    def is_exhausted(self) -> bool:
        return self._next >= N

    def commit(self, positions: Positions) -> None:
        pass

    def lag(self) -> Mapping[TopicPartition, int]:
        return {}

    def close(self) -> None:
        pass
