"""Whether the agent keeps its speed on features while its store grows to a million responses of a day.

``features_at_a_million_rows``: responses for each processor second of the last tenth and (baseline) of the second one;
the first one warms up.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from driftgauge.agent.service import build
from driftgauge.agent.service.loop import Loop
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record, Store
from driftgauge.connectors.testing import MemorySource, NoSink
from tests.benchmarks.streaming import MSGPACK, packed_events

N, PARTS, STEP_S = 1_000_000, 10, 0.0864
N_KINDS = 400


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
                "store.url": f"sqlite:///{Path(folder)}/store.db",
            },
        )
        kinds, store = _kinds(settings), build.store(settings)
        try:
            rates = [_rate(settings, store, _records(kinds, part)) for part in range(PARTS)]
        finally:
            store.close()
    value, baseline = round(rates[-1]), round(rates[1])
    result = {"value": value, "unit": "responses/CPU s", "baseline": baseline, "ratio": round(value / baseline, 3)}
    return {"features_at_a_million_rows": result}


def _kinds(settings: Settings) -> list[dict[str, Any]]:
    """Events of the topic of features, as plain values."""
    extractor = build.record_extractor(settings)
    raw = [Record("raw", 0, at, key, value, tuple(MSGPACK)) for at, (key, value) in enumerate(packed_events(N_KINDS))]
    return [msgspec.msgpack.decode(message.value) for _, message in extractor.extract(raw, "features", 1)]


def _records(kinds: list[dict[str, Any]], part: int) -> list[Record]:
    """A tenth of a day, under ids and times of its own."""
    records = []
    for number in range(part * N // PARTS, (part + 1) * N // PARTS):
        event = kinds[number % N_KINDS]
        event["offset"] = number
        event["events"][0] |= {"id": f"response-{number:012}", "event_time": 1.7e9 + number * STEP_S}
        records.append(Record("features", 0, number, None, msgspec.msgpack.encode(event), tuple(MSGPACK)))
    return records


def _rate(settings: Settings, store: Store, records: list[Record]) -> float:
    """Responses for each processor second, from the state of the store to the end of these records."""
    source = MemorySource(records, max_records=settings.kafka.max_records)
    loop = Loop(build.pipeline_settings(settings), build.decoder(settings), store, lambda: source, NoSink)
    start = time.process_time()
    loop.run()
    return len(records) / (time.process_time() - start)
