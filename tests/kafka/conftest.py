"""A new topic for each test, and the plain Kafka client to fill and to read it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from driftgauge.connectors.base import Record, Source
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from tests.deadline import until

NewTopic: TypeAlias = Callable[..., str]


@pytest.fixture
def connection(broker: str) -> KafkaConnection:
    return KafkaConnection((broker,))


@pytest.fixture
def new_topic(connection: KafkaConnection) -> NewTopic:
    """Create a topic with a name that no other test uses."""

    def make(partitions: int = 1, replication: int = 1, where: KafkaConnection = connection) -> str:
        name = f"t-{uuid.uuid4().hex[:12]}"
        create_topics(where, [name], partitions, replication)
        return name

    return make


@pytest.fixture
def producer(broker: str) -> Iterator[Any]:
    with closing(KafkaProducer(bootstrap_servers=broker)) as made:
        yield made


@pytest.fixture
def admin(broker: str) -> Iterator[Any]:
    with closing(KafkaAdminClient(bootstrap_servers=broker)) as made:
        yield made


def fill(producer: Any, topic: str, values: Sequence[bytes | None], partition: int = 0, key: bytes = b"k") -> None:
    """Write values to one partition and wait until they are acknowledged."""
    sent = [producer.send(topic, value, key, partition=partition) for value in values]
    producer.flush()
    for future in sent:
        future.get(30)


def read(source: Source, n: int, timeout_s: float = 60.0) -> list[Record]:
    """Poll until ``n`` records have come."""
    records: list[Record] = []

    def is_enough() -> bool:
        records.extend(source.poll(0.2))
        return len(records) >= n

    until(is_enough, timeout_s)
    return records


def everything_in(address: str, topic: str, partition: int = 0) -> list[Any]:
    """All records of one partition, by the plain client."""
    place = TopicPartition(topic, partition)
    with closing(KafkaConsumer(bootstrap_servers=address, group_id=None)) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        found: list[Any] = []

        def is_at_the_end() -> bool:
            found.extend(consumer.poll(200).get(place, []))
            return bool(consumer.position(place) >= end)

        until(is_at_the_end)
        return found
