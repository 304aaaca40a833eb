"""What other people's lag displays see: the offsets of our group."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition

from driftgauge.connectors.base import TopicPartition
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.source import KafkaSource
from tests.deadline import until
from tests.kafka.conftest import NewTopic, fill, read

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def committed(broker: str, topic: str) -> int | None:
    with closing(KafkaConsumer(bootstrap_servers=broker, group_id=f"g-{topic}")) as consumer:
        offset = consumer.committed(ClientPartition(topic, 0))
        return None if offset is None else int(offset)


@pytest.fixture
def source(connection: KafkaConnection, new_topic: NewTopic, producer: Any) -> KafkaSource:
    topic = new_topic()
    fill(producer, topic, [b"x"] * 9)
    made = KafkaSource(connection, [topic], group_id=f"g-{topic}")
    made.open({})
    return made


def test_committed_positions_become_visible(source: KafkaSource, broker: str) -> None:
    (place,) = source.lag()
    with closing(source):
        source.commit({place: 4})

        def is_visible() -> bool:
            source.poll(0.1)  # what failed is tried again on the way
            return committed(broker, place.topic) == 4

        until(is_visible)


def test_the_newest_of_many_commits_is_visible_after_close(source: KafkaSource, broker: str) -> None:
    (place,) = source.lag()
    for offset in range(10):
        source.commit({place: offset})
    source.close()
    assert committed(broker, place.topic) == 9


def test_reading_starts_where_the_store_says_not_the_group(source: KafkaSource) -> None:
    (place,) = source.lag()
    source.commit({place: 9})
    source.close()
    source.open({place: 2})
    with closing(source):
        assert read(source, 7)[0].offset == 2


def test_committing_never_raises_not_even_before_opening_or_for_a_foreign_topic(source: KafkaSource) -> None:
    source.commit({TopicPartition("never-made", 0): 1})
    source.poll(0.1)
    source.close()
    source.commit({TopicPartition("never-made", 0): 1})
    source.close()
