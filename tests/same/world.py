"""A raw topic with the log, topics of features, and the extractors and agents that read them, as real processes."""

from __future__ import annotations

import os
import signal
import sys
import uuid
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from tests.deadline import until
from tests.kafka.agent_process import AgentProcess
from tests.same.log import RESPONSES_PER_LABEL, Line

EXTRACT = (sys.executable, "-m", "driftgauge.agent.cli", "extract")
AGENT = (sys.executable, "-m", "tests.soak.agent")
WAIT_S = 1_800.0
PRODUCER = {"compression_type": "lz4", "linger_ms": 20, "batch_size": 1 << 20, "metrics_enabled": False}


def model_settings(n_responses: int) -> dict[str, Any]:
    """Settings of everything but the connections. Logs of any size give about as many windows and fits."""
    return {
        "decode": {"encoding": "msgpack"},
        "windows": {
            "window_s": 20_000,
            "window_events": min(max(n_responses // 40, 50), 500),
            "hop_s": 5_000,
            "emit_every_events": max(n_responses // 100, 50),
            "emit_every_labels": max(n_responses // 1_000, 10),
        },
        "estimates": {"min_events": 5},
        "classifier": {"refit_every_labels": max(n_responses // RESPONSES_PER_LABEL // 20, 20)},
        "labels": {"horizon_s": 50_000},
        "bounds": {"max_in_flight": 100_000},
        "store": {"max_dead_letters": 1_000_000},
    }


class Extractor(AgentProcess):
    """``driftgauge extract``; it can be paused, as by a machine that is suspended."""

    def leave(self) -> None:
        """End it in order. One that has just been started ends at once."""
        assert self.stop() in (0, -signal.SIGTERM), self.log.read_text()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class World:
    """Two topics of one broker, the log, and all processes, which end with it."""

    def __init__(
        self, broker: str, folder: Path, log: Sequence[Line], settings: dict[str, Any], n_partitions: int = 1
    ) -> None:
        self.broker, self.folder, self.n_partitions = broker, folder, n_partitions
        self.log, self._settings = log, settings
        self.raw, self.group_id = self.new_topic(), f"g-{uuid.uuid4().hex[:12]}"
        self._stack = ExitStack()
        self._n_started = 0

    def new_topic(self) -> str:
        """A topic with as many partitions as that of the raw records."""
        name = f"same-{uuid.uuid4().hex[:12]}"
        create_topics(KafkaConnection((self.broker,)), [name], self.n_partitions, 1)
        return name

    def fill(self, start: float, stop: float) -> None:
        """Write a part of the log to the raw topic, from and to these shares of it."""
        n = len(self.log)
        with closing(KafkaProducer(bootstrap_servers=self.broker, **PRODUCER)) as producer:
            for line in self.log[round(start * n) : round(stop * n)]:
                partition = zlib.crc32(line.key) % self.n_partitions
                producer.send(self.raw, line.value, line.key, [*line.headers], partition)
            producer.flush()

    def settings(self, topic: str, *, extract: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Settings of an agent that reads this topic, and of extractors that write it where it is not the raw one."""
        outputs = ("estimates", "alerts", "priorities", "label_lists", "dead_letters", "slice_estimates",
                   "weak_segments", "predictions")  # fmt: skip
        topics = dict.fromkeys(outputs, "")
        return {
            **self._settings,
            "kafka": {
                "bootstrap_servers": [self.broker],
                "topics": {**topics, "generations": [topic], "labels": []},
                "max_records": min(500, max(len(self.log) // 40, 10)),
                "pause_after_s": 3_600,  # an order that is replayed has no silences
            },
            "extract": {
                "topics": [self.raw],
                "to": topic if topic != self.raw else f"{self.raw}-features",
                "group_id": self.group_id,
                "session_timeout_s": 6,
                **(extract or {}),
            },
            **more,
        }

    def extractor(self, features: str, **extract: Any) -> Extractor:
        """One that runs."""
        self._n_started += 1
        folder = self.folder / f"extractor-{self._n_started}"
        return self._stack.enter_context(Extractor(folder, self.settings(features, extract=extract), EXTRACT))

    def agent(self, name: str, topic: str, **more: Any) -> AgentProcess:
        """An agent that keeps which records it applied, in order; ``more`` are further settings."""
        return self._stack.enter_context(AgentProcess(self.folder / name, self.settings(topic, **more), AGENT))

    def ends(self, topic: str) -> int:
        """Number of records in a topic."""
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=None)) as consumer:
            return sum(consumer.end_offsets(self.places(topic)).values())

    def places(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic."""
        return [TopicPartition(topic, n) for n in range(self.n_partitions)]

    def until_published(self, features: str, n: int) -> None:
        """Wait until the topic of features has so many records."""
        until(lambda: self.ends(features) >= n, WAIT_S, every_s=0.1)

    def until_extracted(self) -> None:
        """Wait until the group has committed every raw record."""
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=self.group_id)) as consumer:
            ends = consumer.end_offsets(self.places(self.raw))
            until(lambda: all((consumer.committed(place) or 0) >= end for place, end in ends.items()), WAIT_S, 0.2)

    def forget_offsets(self) -> None:
        """Let the group start over, as after a loss of its offsets. A killed member must be forgotten before that."""
        places = self.places(self.raw)
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=self.group_id)) as consumer:
            consumer.assign(places)

            def is_done() -> bool:
                with suppress(KafkaError):
                    consumer.commit({place: OffsetAndMetadata(0, "", -1) for place in places})
                    return True
                return False

            until(is_done, 60.0, every_s=0.5)

    def close(self) -> None:
        """End all processes."""
        self._stack.close()
