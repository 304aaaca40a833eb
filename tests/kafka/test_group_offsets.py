"""Group offsets, which lag displays show."""

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

pytestmark = pytest.mark.kafka


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


def test_committed_positions_become_group_offsets(source: KafkaSource, broker: str) -> None:
    (place,) = source.lag()
    with closing(source):
        source.commit({place: 4})

        def is_visible() -> bool:
            source.poll(0.1)  # a poll repeats a commit that failed
            return committed(broker, place.topic) == 4

        until(is_visible)


def test_the_newest_committed_position_is_the_group_offset_after_close(source: KafkaSource, broker: str) -> None:
    (place,) = source.lag()
    for offset in range(10):
        source.commit({place: offset})
    source.close()
    assert committed(broker, place.topic) == 9


def test_a_source_starts_at_the_given_positions_not_at_the_group_offsets(source: KafkaSource) -> None:
    (place,) = source.lag()
    source.commit({place: 9})
    source.close()
    source.open({place: 2})
    with closing(source):
        assert read(source, 7)[0].offset == 2


def test_a_commit_raises_no_error_even_before_opening_or_for_a_topic_that_does_not_exist(source: KafkaSource) -> None:
    source.commit({TopicPartition("never-made", 0): 1})
    source.poll(0.1)
    source.close()
    source.commit({TopicPartition("never-made", 0): 1})
    source.close()
