"""Real extractors between the raw topic and the agent: killed, stopped and joined by others, they change no result."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from driftgauge.config.load import load_settings
from driftgauge.connectors.base import Message
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.models.events import Chunk, Context, Generation, Label, Signal
from tests.deadline import until
from tests.kafka.agent_process import AgentProcess, contents
from tests.kafka.conftest import NewTopic, everything_in

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]
COMMAND = (sys.executable, "-m", "driftgauge.agent.cli", "extract")
N_RESPONSES, START = 1_500, 1_700_000_000.0
SETTINGS: dict[str, Any] = {
    "decode": {"encoding": "msgpack"},
    "windows": {"window_s": 3e4, "window_events": N_RESPONSES, "hop_s": 3e3, "emit_every_events": 500},
    "classifier": {"refit_every_labels": 1_000},
}
JUNK = (b"garbage", b"\xc1", None)


def signals() -> list[Signal]:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(6, 0.3), size=(20, 40)).astype(np.float32)
    rows = np.log(np.sort(p)[..., :0:-1] + np.float32(1e-7))
    return [Signal(chosen_logprobs=row[:, 0], top_logprobs=row) for row in rows]


def log() -> Iterator[tuple[bytes, bytes | None]]:
    """Whole responses, responses in numbered and in unnumbered pieces, labels behind them, and junk."""
    found = signals()
    for i in range(N_RESPONSES):
        name, at = f"r{i}", START + 4.0 * i
        whole = Generation(name, at, "ab"[i % 2], Context(model="m"), found[i % 20], aliases=(f"ticket{i}",))
        if i % 5 == 4:
            for n, (start, stop) in enumerate(((0, 10), (10, 40))):
                part = Signal(
                    chosen_logprobs=found[i % 20].chosen_logprobs[start:stop],  # type: ignore[index]
                    top_logprobs=found[i % 20].top_logprobs[start:stop],  # type: ignore[index]
                )
                chunk = Chunk(whole.with_signal(part), n if i % 2 else None, is_last=n == 1)
                yield name.encode(), encode_generation(chunk, dtype="float32")
        else:
            yield name.encode(), encode_generation(whole, dtype="float32")
        if i % 7 == 3:
            yield name.encode(), encode_label(Label(f"l{i}", f"r{i - 3}", at, float(i % 2)))
        if i % 50 == 9:
            yield name.encode(), JUNK[i // 50 % 3]


class World:
    """A raw topic with the log, a topic of features, and the settings of everybody."""

    def __init__(self, broker: str, folder: Path, new_topic: NewTopic, n_partitions: int) -> None:
        self.broker, self.folder, self.n_partitions = broker, folder, n_partitions
        self.raw, self.features = new_topic(partitions=n_partitions), new_topic(partitions=n_partitions)
        self.records = list(log())
        self._stack = ExitStack()

    def fill(self, start: float, stop: float) -> None:
        """Write a part of the log, from and to these shares of it."""
        n = len(self.records)
        with closing(KafkaProducer(bootstrap_servers=self.broker)) as producer:
            for key, value in self.records[int(start * n) : int(stop * n)]:
                partition = int(key[1:]) % self.n_partitions  # as a producer's hash of the key: pieces stay together
                producer.send(self.raw, value, key, partition=partition)
            producer.flush()

    def settings(self, name: str, topic: str, **more: Any) -> dict[str, Any]:
        outputs = ("estimates", "alerts", "priorities", "label_lists", "dead_letters", "slice_estimates",
                   "weak_segments", "predictions")  # fmt: skip
        topics = dict.fromkeys(outputs, "")
        extract = {"topics": [self.raw], "to": self.features, "group_id": f"{self.raw}-group", "session_timeout_s": 6}
        return {
            **SETTINGS,
            "kafka": {
                "bootstrap_servers": [self.broker],
                "topics": {**topics, "generations": [topic], "labels": []},
                "max_records": 40,
            },
            "extract": {**extract, **more},
            "store": {"url": f"sqlite:///{self.folder / name / 'store.db'}"},
        }

    def extractor(self, name: str, **more: Any) -> AgentProcess:
        made = AgentProcess(self.folder / name, self.settings(name, self.features, **more), COMMAND)
        return self._stack.enter_context(made)

    def agent(self, name: str, topic: str) -> AgentProcess:
        return AgentProcess(self.folder / name, self.settings(name, topic))

    def ends(self, topic: str) -> int:
        """Number of records in a topic."""
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=None)) as consumer:
            places = [TopicPartition(topic, n) for n in range(self.n_partitions)]
            return sum(consumer.end_offsets(places).values())

    def until_published(self, n: int) -> None:
        until(lambda: self.ends(self.features) >= n, 120.0, every_s=0.1)

    def until_extracted(self) -> None:
        """Wait until the group has committed every raw record."""
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=f"{self.raw}-group")) as consumer:
            places = [TopicPartition(self.raw, n) for n in range(self.n_partitions)]
            ends = consumer.end_offsets(places)
            until(lambda: all((consumer.committed(place) or 0) >= ends[place] for place in places), 120.0, every_s=0.2)

    def forget_offsets(self) -> None:
        """Let the group start over, as after a loss of its offsets. A killed member must be forgotten before that."""
        with closing(KafkaConsumer(bootstrap_servers=self.broker, group_id=f"{self.raw}-group")) as consumer:
            places = [TopicPartition(self.raw, n) for n in range(self.n_partitions)]
            consumer.assign(places)

            def is_done() -> bool:
                with suppress(KafkaError):
                    consumer.commit({place: OffsetAndMetadata(0, "", -1) for place in places})
                    return True
                return False

            until(is_done, 60.0, every_s=0.5)

    def store_of(self, name: str, topic: str) -> dict[str, Any]:
        """The store of an agent that has read this topic to its end."""
        with self.agent(name, topic) as agent:
            agent.until_applied(len(self.records) + (self.ends(topic) if topic == self.features else 0))
            assert agent.stop() == 0
        return contents(agent.store)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def world(broker: str, tmp_path: Path, new_topic: NewTopic, request: pytest.FixtureRequest) -> Iterator[World]:
    with closing(World(broker, tmp_path, new_topic, getattr(request, "param", 1))) as made:
        yield made


@pytest.mark.parametrize("world", [1, 3], indirect=True, ids=["one partition", "three partitions"])
def test_extractors_that_are_killed_stopped_and_joined_change_nothing(world: World) -> None:
    n = len(world.records)
    world.fill(0, 0.4)
    first, second = world.extractor("first"), world.extractor("second")
    world.until_published(n // 10)
    first.kill()
    world.fill(0.4, 0.8)
    world.until_published(n // 2)
    assert second.stop() == 0
    world.forget_offsets()
    third = world.extractor("third")
    world.fill(0.8, 1)
    world.until_published(n)
    fourth = world.extractor("fourth")
    world.until_extracted()
    assert (third.stop(), fourth.stop()) == (0, 0)
    assert world.ends(world.features) > n
    check_that_the_agent_ends_the_same(world)


def check_that_the_agent_ends_the_same(world: World) -> None:
    """Compare the stores of an agent that reads the features and of one that reads the raw topic."""
    through, direct = world.store_of("agent", world.features), world.store_of("direct", world.raw)
    if world.n_partitions == 1:  # the agent reads one order, so that everything is equal to the bit
        assert {name: table for name, table in through.items() if name != "positions"} == {
            name: table for name, table in direct.items() if name != "positions"
        }
    assert {place for place in through["positions"] if place[0] == world.raw} == set(direct["positions"])
    for table in ("labels", "dead_letters"):
        assert sorted(map(repr, map(without_numbers, through[table]))) == sorted(
            map(repr, map(without_numbers, direct[table]))
        )
    assert len(direct["responses"]) == N_RESPONSES
    assert facts(through["responses"]) == facts(direct["responses"])


def without_numbers(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row without its number of arrival."""
    return row[1:]


def facts(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """What responses are, whatever the classifier knew when they came: texts and features."""
    return {tuple(value for value in row if isinstance(value, (str, bytes))) for row in rows}


def test_an_extractor_says_how_it_is(world: World) -> None:
    world.fill(0, 0.1)
    extractor = world.extractor("one", status_port=(port := free_port()))
    world.until_extracted()

    def page(name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
            return str(answer.read().decode())

    until(lambda: f"driftgauge_extract_records_total {world.ends(world.features)}.0" in page("metrics"))
    assert json.loads(page("readyz")) == {"status": "ready"}
    assert f'driftgauge_extract_lag_records{{partition="0",topic="{world.raw}"}} 0.0' in page("metrics")
    assert extractor.stop() == 0
    assert f"extracts {world.raw}/0" in extractor.log.read_text()


def free_port() -> int:
    import socket

    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_message_that_is_too_large_is_replaced_in_its_place(
    connection: KafkaConnection, broker: str, admin: Any, new_topic: NewTopic
) -> None:
    topic = new_topic() + "-narrow"
    configs = {"num_partitions": 2, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
    admin.create_topics({topic: configs}, wait_for_metadata=True)
    messages = [Message(0, topic, b"k", b"%d" % i * (4_000 if i == 5 else 1), partition=1) for i in range(10)]
    with closing(KafkaSink(connection, shortened=lambda value, _: b"short " + value[:1])) as sink:
        assert sink.n_partitions(topic) == 2
        sink.publish(messages)
        sink.publish(messages[5:6])
    found = [record.value for record in everything_in(broker, topic, 1)]
    assert [*dict.fromkeys(found)] == [b"short 5" if i == 5 else b"%d" % i for i in range(10)]
    assert found[-1] == b"short 5"


def test_the_settings_refuse_a_topic_that_is_read_and_written() -> None:
    with pytest.raises(Exception, match="raw would be both read and written"):
        load_settings(None, {"extract.topics": ["raw"], "extract.to": "raw"})
