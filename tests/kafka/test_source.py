"""Reading a topic of a real broker: order, bounds, positions, lag."""

from __future__ import annotations

import threading
import uuid
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from kafka import KafkaProducer

from driftgauge.connectors.base import ConnectorError, TopicPartition
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.kafka.topics import create_topics
from tests.kafka.conftest import NewTopic, fill, read

pytestmark = pytest.mark.kafka


@pytest.fixture
def three(new_topic: NewTopic, producer: Any) -> str:
    """A topic with two records in partition 0 and one in partition 1."""
    topic = new_topic(partitions=2)
    fill(producer, topic, [b"a", b"b"], partition=0)
    fill(producer, topic, [b"c"], partition=1)
    return topic


def test_a_source_without_positions_reads_all_partitions_from_the_earliest_record(
    connection: KafkaConnection, three: str
) -> None:
    with closing(KafkaSource(connection, [three])) as source:
        source.open({})
        records = read(source, 3)
    places = [(record.partition, record.offset, record.value) for record in records]
    assert sorted(places) == [(0, 0, b"a"), (0, 1, b"b"), (1, 0, b"c")]
    assert {record.key for record in records} == {b"k"}
    assert all(1e9 < record.timestamp < 1e10 for record in records)  # seconds, not milliseconds


def test_a_source_continues_at_the_given_positions(connection: KafkaConnection, three: str) -> None:
    with closing(KafkaSource(connection, [three])) as source:
        source.open({TopicPartition(three, 0): 1, TopicPartition(three, 1): 1})
        assert [record.value for record in read(source, 1)] == [b"b"]


def test_a_source_that_is_opened_again_starts_at_the_new_positions(connection: KafkaConnection, three: str) -> None:
    with closing(KafkaSource(connection, [three], max_records=1)) as source:
        source.open({})
        read(source, 2)
        source.open({TopicPartition(three, 0): 2})
        assert [record.value for record in read(source, 1)] == [b"c"]


def test_a_poll_returns_at_most_max_records(connection: KafkaConnection, new_topic: NewTopic, producer: Any) -> None:
    topic = new_topic()
    fill(producer, topic, [b"%d" % i for i in range(100)])
    with closing(KafkaSource(connection, [topic], max_records=7)) as source:
        source.open({})
        batches = [read(source, 1) for _ in range(15)]
    assert max(map(len, batches)) == 7
    assert [record.offset for batch in batches for record in batch] == list(range(100))


def test_a_poll_returns_at_most_max_bytes_and_the_next_poll_continues(
    connection: KafkaConnection, new_topic: NewTopic, producer: Any
) -> None:
    topic = new_topic()
    fill(producer, topic, [b"x" * size for size in (10, 10, 400, 400, 10, 5_000, 10)])
    with closing(KafkaSource(connection, [topic], max_bytes=1_000)) as source:
        source.open({})
        batches: list[list[int]] = []
        while sum(map(len, batches)) < 7:
            batches.append([len(record.value or b"") for record in read(source, 1)])
    assert [size for batch in batches for size in batch] == [10, 10, 400, 400, 10, 5_000, 10]
    assert all(sum(batch) <= 1_000 or batch == [5_000] for batch in batches)  # one record may exceed it by itself


def test_tombstones_and_headers_are_returned_unchanged(
    connection: KafkaConnection, new_topic: NewTopic, producer: Any
) -> None:
    topic = new_topic()
    fill(producer, topic, [None])
    producer.send(topic, b"v", headers=[("content-type", b"application/json"), ("n", b"1")]).get(30)
    with closing(KafkaSource(connection, [topic])) as source:
        source.open({})
        tombstone, other = read(source, 2)
    assert tombstone.value is None
    assert other.key is None
    assert other.headers == (("content-type", b"application/json"), ("n", b"1"))


def test_lag_counts_the_records_that_were_not_yet_polled(
    connection: KafkaConnection, new_topic: NewTopic, producer: Any
) -> None:
    topic = new_topic()
    fill(producer, topic, [b"x"] * 10)
    here = TopicPartition(topic, 0)
    with closing(KafkaSource(connection, [topic], max_records=4)) as source:
        source.open({})
        lags = [source.lag()[here]]
        while lags[-1]:
            read(source, 1)
            lags.append(source.lag()[here])
    assert lags == [10, 6, 2, 0]


def test_records_of_an_aborted_transaction_are_not_read(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic()
    with closing(KafkaProducer(bootstrap_servers=broker, transactional_id=topic)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"taken back")
        producer.flush()
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topic, b"kept")
        producer.commit_transaction()
    with closing(KafkaSource(connection, [topic])) as source:
        source.open({})
        assert [record.value for record in read(source, 1)] == [b"kept"]


def test_opening_waits_for_a_topic_that_is_being_created(connection: KafkaConnection) -> None:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    maker = threading.Timer(0.5, create_topics, (connection, [topic], 1, 1))
    maker.start()
    with closing(KafkaSource(replace(connection, connect_timeout_s=60.0), [topic])) as source:
        source.open({})
        assert source.lag() == {TopicPartition(topic, 0): 0}
    maker.join()


def test_opening_a_topic_that_does_not_exist_is_a_permanent_error(connection: KafkaConnection) -> None:
    connection = replace(connection, connect_timeout_s=2.0)
    with closing(KafkaSource(connection, ["never-made"])) as source, pytest.raises(ConnectorError) as caught:
        source.open({})
    assert "never-made does not exist" in str(caught.value)
    assert not caught.value.retriable


def test_polling_a_closed_source_raises_an_error(connection: KafkaConnection, three: str) -> None:
    source = KafkaSource(connection, [three])
    source.open({})
    source.close()
    source.close()
    with pytest.raises(ConnectorError, match="not open"):
        source.poll(0)
