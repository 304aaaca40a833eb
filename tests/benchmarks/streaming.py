"""How fast events come from a real broker: the whole agent, with a reader and without, and its source alone.

The baseline is the bare client on the same topic; for the JSON of a server, the agent without readers.

`produce` and `bare_consumer_seconds` are for other measurements on a broker too.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service.agent import open_agent
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Context, Generation, Label, Signal
from driftgauge.models.outputs import Output
from tests.benchmarks.decoding import openai_chat
from tests.brokers import broker_address

Headers: TypeAlias = list[tuple[str, bytes]]

N_LARGE, N_SMALL, N_JSON, N_TOKENS, K, N_SIGNALS, N_DOMAINS = 20_000, 60_000, 600, 500, 20, 50, 8
MSGPACK, JSON = [("content-type", b"application/msgpack")], [("content-type", b"application/json")]


def measure() -> dict[str, dict[str, Any]]:
    """Events per second through the agent or `KafkaSource.poll`; the baseline is the bare client on the same topic."""
    with broker_address() as address:
        return {
            **_end_to_end(address),
            "end_to_end_openai_2_readers_vs_none": _with_readers(address),
            "kafka_source_vs_bare_consumer": _compared(address, N_LARGE, packed_events(N_LARGE)),
            "kafka_source_vs_bare_consumer_small": _compared(address, N_SMALL, small_events(N_SMALL)),
        }


def packed_events(n: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of ``n`` generation events in MessagePack: 500 tokens x 20 alternatives, packed float16."""
    signals = _signals()
    for i in range(n):
        event = Generation(
            f"r-{i}", 1.7e9 + i, f"domain-{i % N_DOMAINS}", Context(model="m", k=K), signals[i % N_SIGNALS]
        )
        yield event.id.encode(), encode_generation(event, dtype="float16")


def labelled_events(n: int) -> Iterator[tuple[bytes, bytes]]:
    """The same, and for every tenth response its label right behind it."""
    for i, (key, value) in enumerate(packed_events(n)):
        yield key, value
        if i % 10 == 0:
            yield key, encode_label(Label(f"l-{i}", key.decode(), 1.7e9 + i, float(i % 20 == 0)))


def openai_events(n: int) -> Iterator[tuple[bytes, bytes]]:
    """Chat bodies of a server with 500 tokens x 20 alternatives, 0.9 MB of JSON each."""
    bodies = [openai_chat(seed) for seed in range(N_DOMAINS)]
    for i in range(n):
        body = {**bodies[i % N_DOMAINS], "id": f"r-{i}", "created": 1_700_000_000 + i}
        yield b"r-%d" % i, json.dumps(body, separators=(",", ":")).encode()


def small_events(n: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of 200 bytes, as labels or extracted features are."""
    for i in range(n):
        yield b"r-%d" % i, b"%200d" % i


def produce(
    address: str, topic: str, events: Iterator[tuple[bytes, bytes]], partitions: int = 1, headers: Headers = MSGPACK
) -> None:
    """Write events to a new topic, spread evenly over its partitions, compressed by lz4."""
    create_topics(KafkaConnection((address,)), [topic], partitions, replication=1)
    options = {"compression_type": "lz4", "linger_ms": 20, "batch_size": 1 << 20, "metrics_enabled": False}
    with closing(KafkaProducer(bootstrap_servers=address, **options)) as producer:
        for (key, value), partition in zip(events, itertools.cycle(range(partitions)), strict=False):
            producer.send(topic, value, key, headers, partition)
        producer.flush()


def bare_consumer_seconds(broker_address: str, topic: str, n: int) -> float:
    """Seconds the client alone needs for the first ``n`` records of a topic, from its first poll on."""
    options = {"fetch_max_bytes": 16 << 20, "max_partition_fetch_bytes": 16 << 20, "metrics_enabled": False}
    with closing(KafkaConsumer(bootstrap_servers=broker_address, group_id=None, **options)) as consumer:
        places = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        start = time.perf_counter()
        while n > 0:
            n -= sum(map(len, consumer.poll(timeout_ms=1_000, max_records=500).values()))
        return time.perf_counter() - start


def source_seconds(broker_address: str, topic: str, n: int) -> float:
    """The same through the agent's source."""
    with closing(KafkaSource(KafkaConnection((broker_address,)), [topic])) as source:
        source.open({})
        start = time.perf_counter()
        while n > 0:
            n -= len(source.poll(1.0))
        return time.perf_counter() - start


def agent_seconds(
    broker_address: str,
    topic: str,
    n: int,
    readers: int = 0,
    port: int | None = None,
    beside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> float:
    """Seconds the whole agent needs for ``n`` records, from its start until the last one's outputs are published.

    With a ``port`` it serves its API there. ``beside`` is open meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = dict.fromkeys(("estimates", "alerts", "priorities", "predictions", "dead_letters"), f"{topic}-out")
        topics = {f"kafka.topics.{name}": value for name, value in names.items()}
        settings = load_settings(
            None,
            {
                **topics,
                "kafka.topics.generations": topic,
                "kafka.topics.labels": "",
                "kafka.bootstrap_servers": broker_address,
                "kafka.create_topics": True,
                "kafka.readers": readers,
                "server.enabled": port is not None,
                "server.port": port or 0,
                "store.url": f"sqlite:///{folder}/bench.db",
            },
        )
        with open_agent(settings) as agent, beside():
            agent.observers = (*agent.observers, _Until(n, agent.stop))
            start = time.perf_counter()
            agent.run()
            return time.perf_counter() - start


class _Until(Observer):
    """Stops the agent after so many records."""

    def __init__(self, n: int, stop: Callable[[], None]) -> None:
        self.n_left = n
        self.stop = stop

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002
        self.n_left -= len(records)
        if self.n_left <= 0:
            self.stop()

    def failure(self, error: ConnectorError | None) -> None:
        if error is not None:
            raise error


def _end_to_end(address: str) -> dict[str, dict[str, Any]]:
    topic, n = f"bench-{uuid.uuid4().hex[:12]}", N_LARGE + N_LARGE // 10
    produce(address, topic, labelled_events(N_LARGE))
    agent, bare = (partial(work, address, topic, n) for work in (agent_seconds, bare_consumer_seconds))
    return {
        "end_to_end_vs_bare_consumer": ratio(n, partial(agent, readers=1), bare),
        "end_to_end_without_reader_vs_bare_consumer": ratio(n, agent, bare),
    }


def _with_readers(address: str) -> dict[str, Any]:
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    produce(address, topic, openai_events(N_JSON), partitions=2, headers=JSON)
    agent = partial(agent_seconds, address, topic, N_JSON)
    return ratio(N_JSON, partial(agent, readers=2), agent)


def _compared(address: str, n: int, events: Iterator[tuple[bytes, bytes]]) -> dict[str, Any]:
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    produce(address, topic, events)
    return ratio(n, partial(source_seconds, address, topic, n), partial(bare_consumer_seconds, address, topic, n))


def ratio(n: int, ours: Callable[[], float], theirs: Callable[[], float]) -> dict[str, Any]:
    """Both in three rounds, one after the other."""
    return middle(n, [(ours(), theirs()) for _ in range(3)], "events/s")


def middle(n: int, rounds: Sequence[tuple[float, float]], unit: str) -> dict[str, Any]:
    """The middle round by its ratio: what takes longer meets more of a machine's slow spells."""
    ordered = sorted(rounds, key=lambda times: times[1] / times[0])
    value, baseline = (n / seconds for seconds in ordered[len(ordered) // 2])
    return {"value": round(value), "unit": unit, "baseline": round(baseline), "ratio": round(value / baseline, 3)}


def _signals() -> list[Signal]:
    p = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=(N_SIGNALS, N_TOKENS)).astype(np.float32)
    rows = np.log(np.sort(p)[..., ::-1] + np.float32(1e-7))
    return [Signal(chosen_logprobs=row[:, 0], top_logprobs=row) for row in rows]
