"""Records of topics between two times or offsets, in the order of time."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.history import Bound, KafkaHistory
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.models.events import Context, Generation, Label, Signal
from tests.deadline import until
from tests.kafka.conftest import NewTopic

pytestmark = pytest.mark.kafka

START_S, N = 1_700_000_000, 30


@pytest.fixture
def topics(new_topic: NewTopic, producer: Any) -> tuple[str, str]:
    """One response per second in two partitions; every third has a label 0.5 s later. Labels are published first."""
    generations, labels = new_topic(partitions=2), new_topic()
    for i in range(0, N, 3):
        label = encode_label(Label(f"l{i}", f"r{i}", START_S + i + 0.5, 1.0))
        producer.send(labels, label, partition=0, timestamp_ms=(START_S + i) * 1000 + 500)
    for i in range(N):
        response = Generation(f"r{i}", START_S + i, "law", Context(model="m"), Signal())
        producer.send(generations, encode_generation(response), partition=i % 2, timestamp_ms=(START_S + i) * 1000)
    producer.flush()
    return generations, labels


def read(history: KafkaHistory, positions: dict[TopicPartition, int] | None = None) -> list[Record]:
    """Return all records up to the end."""
    records: list[Record] = []

    def is_at_the_end() -> bool:
        records.extend(history.poll(0.2))
        return history.is_exhausted

    with closing(history):
        history.open(positions or {})
        until(is_at_the_end, 120.0)
    return records


def history(connection: KafkaConnection, topics: tuple[str, str], begin: Bound, end: Bound) -> KafkaHistory:
    def open_source(partitions: Collection[TopicPartition] | None) -> KafkaSource:
        return KafkaSource(connection, topics, partitions=partitions, max_records=4)

    return KafkaHistory(open_source, begin, end, max_records=7)


def test_a_history_returns_every_record_once_in_the_order_of_time(
    connection: KafkaConnection, topics: tuple[str, str]
) -> None:
    records = read(history(connection, topics, None, None))
    times = [record.timestamp - START_S for record in records]
    assert times == sorted([*range(N), *(i + 0.5 for i in range(0, N, 3))])


def test_a_history_includes_its_begin_time_and_excludes_its_end_time(
    connection: KafkaConnection, topics: tuple[str, str]
) -> None:
    records = read(history(connection, topics, START_S + 6.0, START_S + 9.0))
    assert [record.timestamp - START_S for record in records] == [6, 6.5, 7, 8]


def test_offsets_bound_only_the_partitions_that_they_name(connection: KafkaConnection, topics: tuple[str, str]) -> None:
    generations, labels = topics
    begin = {TopicPartition(generations, 0): 3, TopicPartition(labels, 0): 10}
    records = read(history(connection, topics, begin, {TopicPartition(generations, 0): 5}))
    assert [r.offset for r in records if (r.topic, r.partition) == (generations, 0)] == [3, 4]
    assert len([r for r in records if (r.topic, r.partition) == (generations, 1)]) == N / 2
    assert not [r for r in records if r.topic == labels]


@pytest.mark.parametrize("is_begin", [True, False])
def test_an_offset_of_a_partition_that_is_not_read_is_an_error(
    connection: KafkaConnection, topics: tuple[str, str], is_begin: bool
) -> None:
    bound = {TopicPartition(topics[0], 1): 3, TopicPartition("generatoins", 0): 3}
    found = history(connection, topics, bound if is_begin else None, None if is_begin else bound)
    with closing(found), pytest.raises(ConnectorError, match="no partition generatoins/0 is read; there are") as caught:
        found.open({})
    assert str(caught.value).endswith(", ".join(sorted([f"{topics[0]}/0", f"{topics[0]}/1", f"{topics[1]}/0"])))


def test_a_history_without_records_ends_at_once(connection: KafkaConnection, topics: tuple[str, str]) -> None:
    assert read(history(connection, topics, START_S + 1000.0, None)) == []


def test_an_interrupted_replay_continues_at_its_positions(connection: KafkaConnection, topics: tuple[str, str]) -> None:
    records = read(history(connection, topics, START_S + 0.0, None), {TopicPartition(topics[0], 0): 14})
    assert [r.offset for r in records if (r.topic, r.partition) == (topics[0], 0)] == [14]


@pytest.fixture
def flags(broker: str, topics: tuple[str, str], tmp_path: Path) -> Iterator[list[str]]:
    live = f"sqlite:///{tmp_path / 'live.db'}"
    names = {"generations": topics[0], "labels": topics[1]}
    settings = {f"kafka.topics.{name}": topic for name, topic in names.items()}
    settings |= {"kafka.bootstrap_servers": broker, "store.url": live, "decode.encoding": "msgpack"}
    yield [f"--set={name}={value}" for name, value in settings.items()]
    assert not (tmp_path / "live.db").exists()


def test_the_replay_command_fills_a_separate_store(flags: list[str], tmp_path: Path) -> None:
    filled = tmp_path / "filled.db"
    arguments = ["replay", "--from", "2023-11-14", "--to", "2023-11-15", "--store", str(filled), *flags]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with closing(sqlite3.connect(filled)) as db:
        assert db.execute("SELECT count(*), count(correct) FROM responses").fetchone() == (N, N / 3)
        assert db.execute('SELECT sum("offset") FROM positions').fetchone() == (N + N / 3,)  # a live agent goes on here


@pytest.mark.parametrize("spelled", ["live.db", "./live.db", "folder/../live.db"])
def test_the_replay_command_refuses_the_store_of_the_live_agent(
    flags: list[str], spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(app, ["replay", "--from", "2023-11-14", "--store", spelled, *flags])
    assert "store of the live agent" in str(done.exception)
