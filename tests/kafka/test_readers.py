"""Readers, the processes that read for the agent: every record counts once, also when a reader is killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.agent.service import build
from driftgauge.agent.service.reader_pool import PoolDecoder, ReaderPool
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Arrival, Context, Event, Generation, Signal
from tests.deadline import until
from tests.kafka.agent_process import AgentProcess, children, is_alive
from tests.kafka.agents import running, settings_for
from tests.kafka.conftest import NewTopic, fill
from tests.kafka.conftest import read as polled

pytestmark = pytest.mark.kafka
TOP = np.log(np.array([[0.5, 0.25], [0.75, 0.125]], dtype=np.float32))


def response(i: int) -> Generation:
    return Generation(f"r{i}", 1.7e9 + i, "law", Context(model="m", temperature=0.5), Signal(TOP[:, 0], TOP))


@pytest.fixture
def topic(new_topic: NewTopic, producer: Any) -> str:
    """Three partitions of 40 responses."""
    made, numbers = new_topic(partitions=3), count()
    for partition in range(3):
        values = [encode_generation(response(next(numbers)), "json") for _ in range(40)]
        fill(producer, made, values, partition)
    return made


def settings_of(broker: str, folder: Path, topic: str, readers: int, **more: object) -> Settings:
    given = settings_for(broker, folder, kafka__readers=readers, **more)
    topics = given.kafka.topics.model_copy(update={"generations": (topic,), "labels": ()})
    return given.model_copy(update={"kafka": given.kafka.model_copy(update={"topics": topics})})


@pytest.fixture
def readers(broker: str, tmp_path: Path, topic: str) -> Iterator[ReaderPool]:
    made = build.source(settings_of(broker, tmp_path, topic, readers=2), MemoryStore())
    assert isinstance(made, ReaderPool)
    with closing(made):
        made.open({})
        yield made


def ids(events: list[Event]) -> list[str]:
    return [event.generation.id for event in events if isinstance(event, Arrival)]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_reader_pool_returns_every_record_once_in_the_order_of_its_partition(
    broker: str, tmp_path: Path, topic: str, n: int
) -> None:
    source = build.source(settings_of(broker, tmp_path, topic, n), MemoryStore())
    with closing(source):
        source.open({})
        records = polled(source, 120)
    assert Counter(ids(PoolDecoder().decode(records))) == Counter(f"r{i}" for i in range(120))
    for partition in range(3):
        assert [r.offset for r in records if r.partition == partition] == list(range(40))


def test_the_lag_of_a_reader_pool_is_that_of_all_readers_and_falls_to_zero(readers: ReaderPool) -> None:
    assert sum(readers.lag().values()) == 120
    polled(readers, 120)
    assert {place.partition: n for place, n in readers.lag().items()} == {0: 0, 1: 0, 2: 0}


def test_a_reader_pool_starts_at_the_given_positions(readers: ReaderPool) -> None:
    readers.open(dict.fromkeys(readers.lag(), 39))
    assert [record.offset for record in polled(readers, 3)] == [39] * 3


def test_no_reader_process_is_left_after_closing_the_pool(readers: ReaderPool) -> None:
    started = children(os.getpid())
    readers.close()
    assert len([pid for pid in started if not is_alive(pid)]) == 2


def test_a_reader_pool_raises_the_same_error_as_a_source_without_readers(tmp_path: Path) -> None:
    errors = []
    for n in (0, 1):
        settings = settings_of("127.0.0.1:9", tmp_path, "any", n, kafka__create_topics=False)
        with (
            pytest.raises(ConnectorError, match="no Kafka broker at") as caught,
            closing(build.source(settings, MemoryStore())) as source,
        ):
            source.open({})
        errors.append((str(caught.value), caught.value.retriable))
    assert errors[0] == errors[1]


def test_a_killed_reader_is_replaced_and_no_record_is_lost(
    broker: str, tmp_path: Path, topic: str, producer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(children(os.getpid()))
    with running(settings_of(broker, tmp_path, topic, readers=1)) as agent:

        def n_applied() -> int:
            with agent.store.transaction() as transaction:
                return sum(transaction.positions().values())

        until(lambda: n_applied() == 120)
        (reader,) = set(children(os.getpid())) - before
        os.kill(reader, signal.SIGKILL)
        fill(producer, topic, [encode_generation(response(i), "json") for i in range(120, 130)])
        until(lambda: n_applied() == 130)
        with agent.store.transaction() as transaction:
            assert len(transaction.responses([f"r{i}" for i in range(130)])) == 130
    assert "a reader process ended by itself (exit code -9)" in caplog.text


def test_readers_end_with_the_agent_and_ignore_sigterm(broker: str, tmp_path: Path, topic: str, producer: Any) -> None:
    outputs = (
        "estimates",
        "alerts",
        "priorities",
        "label_lists",
        "slice_estimates",
        "weak_segments",
        "predictions",
        "reports",
        "dead_letters",
    )
    topics = {"generations": [topic], "labels": [], **{name: f"{topic}-{name}" for name in outputs}}
    kafka = {"bootstrap_servers": [broker], "create_topics": True, "topics": topics, "readers": 2}
    with AgentProcess(tmp_path, {"kafka": kafka}) as agent:
        agent.until_applied(120)
        started = agent.children()
        assert len(started) == 2
        agent.kill()
        until(lambda: not any(map(is_alive, started)))
        fill(producer, topic, [encode_generation(response(120), "json")])
        agent.start()
        agent.until_applied(121)
        started = agent.children()
        for reader in started:
            os.kill(reader, signal.SIGTERM)  # a service manager sends it to all processes at once
        fill(producer, topic, [encode_generation(response(121), "json")])
        agent.until_applied(122)
        assert agent.children() == started
        assert agent.stop() == 0
        assert not any(map(is_alive, started))
