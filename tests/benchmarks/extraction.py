"""What extractors save the agent, and what a second one adds, on a real broker.

``features_topic_vs_raw``: responses for each processor second of the agent, on the topic of features and (baseline) on
the JSON of a server. ``extractor_vs_agent_on_raw``: the same of an extractor on that JSON.
``extractor_packed_vs_openai``: the same of an extractor on packed responses and (baseline) on that JSON.
``extract_scaling``: responses for each processor second of the busiest of two extractors and (baseline) of one; the
middle one of three rounds by its ratio. ``extract_broker_share``: what part of the processor time of these rounds the
broker took, beside two extractors and (baseline) one.
``hand_over``: responses for each processor second of packing and unpacking, as events of the topic of features and
(baseline) pickled, as the agent's readers hand them over.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition

from driftgauge.agent.extraction import build
from driftgauge.agent.service import build_decoding
from driftgauge.agent.service.agent import open_agent
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats import extracted
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from tests.benchmarks import timing
from tests.benchmarks.streaming import JSON, _Until, openai_events, packed_events, produce
from tests.brokers import broker_address
from tests.copying import replace
from tests.deadline import until
from tests.kafka.agent_process import children

N, N_PACKED, N_SCALING, COPIES = 400, 8_000, 1_200, 20


def measure() -> dict[str, dict[str, Any]]:
    """Results by name."""
    with broker_address() as address, tempfile.TemporaryDirectory() as folder:
        brokers = children(os.getpid())
        raw = f"bench-{uuid.uuid4().hex[:12]}"
        produce(address, raw, openai_events(N), partitions=2, headers=JSON)
        return {
            **_per_cpu_second(address, raw, Path(folder)),
            **_scaling(address, brokers, Path(folder)),
            "hand_over": _hand_over(),
        }


def settings_for(address: str, folder: Path, read: str, raw: str, features: str) -> Settings:
    """Settings of an agent that reads one topic, and of its extractors."""
    outputs = dict.fromkeys(("estimates", "alerts", "priorities", "predictions", "dead_letters"), "")
    outputs |= dict.fromkeys(("label_lists", "slice_estimates", "weak_segments"), "")
    return load_settings(
        None,
        {
            **{f"kafka.topics.{name}": value for name, value in outputs.items()},
            "kafka.topics.generations": read,
            "kafka.topics.labels": "",
            "kafka.bootstrap_servers": address,
            "extract.topics": raw,
            "extract.to": features,
            "extract.group_id": f"{features}-group",
            "server.enabled": False,
            "store.url": f"sqlite:///{folder}/{uuid.uuid4().hex}.db",
        },
    )


def _per_cpu_second(address: str, raw: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The features of each response are published several times under new ids, so that the agent has enough to do."""
    features = f"{raw}-features"
    produce(address, features, _extracted(COPIES), partitions=2)
    on_features = [_agent_cpu_s(settings_for(address, folder, features, raw, features), N * COPIES) for _ in range(3)]
    on_raw = [_agent_cpu_s(settings_for(address, folder, raw, raw, features), N) for _ in range(3)]
    extracting = [extraction_cpu_s(address, folder, raw) for _ in range(3)]
    produce(address, packed := f"{raw}-packed", packed_events(N_PACKED), partitions=2)
    on_packed = [extraction_cpu_s(address, folder, packed, N_PACKED) for _ in range(3)]
    agent = N / min(on_raw)
    return {
        "features_topic_vs_raw": _result(N * COPIES / min(on_features), agent, "responses/CPU s"),
        "extractor_vs_agent_on_raw": _result(N / min(extracting), agent, "responses/CPU s"),
        "extractor_packed_vs_openai": _result(N_PACKED / min(on_packed), N / min(extracting), "responses/CPU s"),
    }


def _extracted(copies: int) -> Iterator[tuple[bytes, bytes]]:
    """What extractors make of the bodies; each is read once and then appears under ``copies`` ids."""
    extractor = build_decoding.record_extractor(load_settings(None, {}))
    for at, (key, value) in enumerate(openai_events(N)):
        (found,) = extractor.decode([Record("raw", at % 2, at, key, value, JSON_HEADERS, 1.7e9 + at)])
        for copy in range(copies):
            number = at * copies + copy  # as `produce` spreads them, so that each partition keeps its order
            record = Record("raw", number % 2, number // 2, key, b"", (), 1.7e9 + at)
            event = msgspec.msgpack.decode(extracted.encode(record, found.events))
            event["events"][0]["id"] = f"r-{at}-{copy}"
            yield key, msgspec.msgpack.encode(event)


JSON_HEADERS = tuple(JSON)


def _agent_cpu_s(settings: Settings, n: int) -> float:
    """Processor seconds of the agent for ``n`` records, from its start until the last one is committed."""
    with open_agent(settings) as agent:
        agent.observers = (*agent.observers, _Until(n, agent.stop))
        start = time.process_time()
        agent.run()
        return time.process_time() - start


class Extraction(NamedTuple):
    """What extractors and broker did from when all extractors had partitions until the last output."""

    n_responses: int
    extractors_cpu_s: list[float]
    broker_cpu_s: float

    @property
    def rate(self) -> float:
        """Responses for each processor second of the busiest extractor: the speed of all, if each had its own core."""
        return self.n_responses / max(self.extractors_cpu_s)

    @property
    def broker_share(self) -> float:
        """Of the processor time of all."""
        return self.broker_cpu_s / (self.broker_cpu_s + sum(self.extractors_cpu_s))


def _scaling(address: str, brokers: Sequence[int], folder: Path) -> dict[str, dict[str, Any]]:
    """One extractor and two, as processes. The broker's share is 0 where it was not started here."""
    raw = f"bench-{uuid.uuid4().hex[:12]}"
    produce(address, raw, openai_events(N_SCALING), partitions=4, headers=JSON)

    def extraction(n_extractors: int) -> Extraction:
        features = f"{raw}-{uuid.uuid4().hex[:6]}"
        create_topics(KafkaConnection((address,)), [features], 4, 1)
        return _extraction(settings_for(address, folder, features, raw, features), n_extractors, brokers)

    rounds = sorted(((extraction(2), extraction(1)) for _ in range(3)), key=lambda pair: pair[0].rate / pair[1].rate)
    two, one = rounds[1]
    share, baseline = two.broker_share, one.broker_share
    return {
        "extract_scaling": _result(two.rate, one.rate, "responses/CPU s of one"),
        "extract_broker_share": {"value": share, "unit": "of the CPU time", "baseline": baseline, "ratio": None},
    }


def _extraction(settings: Settings, n_extractors: int, brokers: Sequence[int]) -> Extraction:
    with ExitStack() as stack:
        consumer = stack.enter_context(closing(KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers)))
        extractors = [stack.enter_context(_extractor(settings)) for _ in range(n_extractors)]
        places = [TopicPartition(settings.extract.to, n) for n in range(4)]

        def published() -> int:
            return sum(consumer.end_offsets(places).values())

        until(lambda: published() > 0 and all(b" extracts bench-" in log.read_bytes() for _, log in extractors), 120.0)
        pids = [*(pid for pid, _ in extractors), *brokers]
        first, before = published(), [*map(_cpu_s, pids)]
        until(lambda: published() >= N_SCALING, 300.0)
        used = [_cpu_s(pid) - start for pid, start in zip(pids, before, strict=True)]
        return Extraction(N_SCALING - first, used[:n_extractors], sum(used[n_extractors:]))


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _extractor(settings: Settings) -> Iterator[tuple[int, Path]]:
    """A process that extracts: its id and its log."""
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "kafka": {"bootstrap_servers": [*settings.kafka.bootstrap_servers], "max_records": 20},
            "extract": settings.extract.model_dump(mode="json"),
        }
        config, log = Path(folder) / "driftgauge.yaml", Path(folder) / "log"
        config.write_bytes(msgspec.json.encode(given))
        command = [sys.executable, "-m", "driftgauge.agent.cli", "extract", "--config", str(config)]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output)
        try:
            yield process.pid, log
        finally:
            process.terminate()
            process.wait(60)


def extraction_cpu_s(address: str, folder: Path, raw: str, n: int = N) -> float:
    """Processor seconds of an extractor for the whole topic, from its start until the last record is committed."""
    features = f"{raw}-{uuid.uuid4().hex[:6]}"
    create_topics(KafkaConnection((address,)), [features], 2, 1)
    stopping = threading.Event()
    extractor = build.extractor(settings_for(address, folder, features, raw, features), stopping)

    def stop_at_the_end() -> None:
        until(lambda: extractor.work.counts["records"] >= n, 300.0)
        stopping.set()

    watcher = threading.Thread(target=stop_at_the_end)
    start = time.process_time()
    watcher.start()
    extractor.run()
    watcher.join()
    return time.process_time() - start


def _hand_over() -> dict[str, Any]:
    """Both ways of handing 500 responses over; see docs/decisions/0026-extractors.md for their bytes."""
    extractor = build_decoding.record_extractor(load_settings(None, {}))
    bodies = [
        Record("raw", 0, at, key, value, JSON_HEADERS, 1.7e9) for at, (key, value) in enumerate(openai_events(50))
    ]
    values = [
        (record, extracted.encode(record, record.events)) for record in extractor.decode(bodies) for _ in range(10)
    ]
    # each with objects of its own: pickle sends an object that it meets again in two bytes
    records = [replace(record, events=tuple(extracted.events_of(value))) for record, value in values]

    def as_events() -> None:
        packed = [extracted.encode(record, record.events) for record in records]
        for value in packed:
            extracted.events_of(value)

    def pickled() -> None:
        pickle.loads(pickle.dumps(records))  # noqa: S301 - our own bytes

    ours, theirs = timing.seconds(as_events, pickled)
    return _result(len(records) / ours, len(records) / theirs, "responses/CPU s")


def _result(value: float, baseline: float, unit: str) -> dict[str, Any]:
    return {"value": round(value), "unit": unit, "baseline": round(baseline), "ratio": round(value / baseline, 3)}
