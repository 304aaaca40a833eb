"""A real extractor: its status pages, and messages that do not fit its topic; `tests/same` compares its results."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driftgauge.config.load import load_settings
from driftgauge.connectors.base import Message
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.sink import KafkaSink
from tests.deadline import until
from tests.kafka.conftest import NewTopic, everything_in
from tests.same.log import lines
from tests.same.world import World, model_settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def world(broker: str, tmp_path: Path) -> Iterator[World]:
    n = 100
    with closing(World(broker, tmp_path, [*lines(0, n)], model_settings(n))) as made:
        yield made


def test_an_extractor_says_how_it_is(world: World) -> None:
    features = world.new_topic()
    world.fill(0, 1)
    extractor = world.extractor(features, status_port=(port := free_port()))
    world.until_extracted()

    def page(name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
            return str(answer.read().decode())

    until(lambda: f"driftgauge_extract_records_total {world.ends(features)}.0" in page("metrics"))
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
