"""Publishing to a real broker: order, oversized messages, missing topics."""

from __future__ import annotations

import logging
import uuid
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition

from driftgauge.connectors.base import ConnectorError, Message
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.topics import create_topics
from tests.kafka.conftest import NewTopic, everything_in

pytestmark = pytest.mark.kafka


def test_messages_arrive_in_order_with_key_value_and_headers(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic()
    headers = (("content-type", b"application/json"), ("ce_id", b"1"))
    messages = [Message(i, topic, b"key", b"%d" % i, headers) for i in range(1_000)]
    with closing(KafkaSink(connection)) as sink:
        sink.publish(messages)
        arrived = everything_in(broker, topic)  # before the sink is closed: `publish` waits for acknowledgements
    assert [(r.key, r.value, tuple(r.headers)) for r in arrived] == [(m.key, m.value, headers) for m in messages]


def test_a_message_without_topic_is_not_published(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic()
    with closing(KafkaSink(connection)) as sink:
        sink.publish([Message(1, "", b"k", b"off"), Message(2, topic, b"k", b"on")])
        sink.publish([Message(3, "", b"k", b"off")])
    assert [record.value for record in everything_in(broker, topic)] == [b"on"]


def test_messages_of_one_key_stay_in_one_partition(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic(partitions=3)
    with closing(KafkaSink(connection)) as sink:
        sink.publish([Message(i, topic, b"%d" % (i % 5), b"v") for i in range(50)])
    keys = [{record.key for record in everything_in(broker, topic, partition)} for partition in range(3)]
    assert sum(map(len, keys)) == 5


@pytest.fixture
def narrow(admin: Any) -> str:
    """A topic that accepts messages of up to 2,000 bytes."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    settings = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
    admin.create_topics({name: settings}, wait_for_metadata=True)
    return name


def test_an_oversized_message_is_counted_and_delays_no_other_message(
    connection: KafkaConnection, broker: str, narrow: str, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = (10, 5_000, 20, 9_000, 30)
    with closing(KafkaSink(connection)) as sink, caplog.at_level(logging.ERROR, "driftgauge"):
        sink.publish([Message(i, narrow, b"k", b"x" * size) for i, size in enumerate(sizes)])
        sink.publish([Message(9, narrow, b"k", b"x" * 7_000), Message(10, narrow, b"k", b"x" * 40)])
    assert {len(record.value) for record in everything_in(broker, narrow)} == {10, 20, 30, 40}
    assert sink.stats.oversized == 3
    assert sink.stats.reconnects == 1  # the second call knows the refused size
    assert "too large" in caplog.text
    assert narrow in caplog.text


def test_a_message_above_max_bytes_is_not_sent_to_the_broker(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic()
    with closing(KafkaSink(connection, max_bytes=100)) as sink:
        sink.publish([Message(1, topic, b"k", b"x" * 100), Message(2, topic, b"k", b"x" * 98)])
    assert [len(record.value) for record in everything_in(broker, topic)] == [98]
    assert (sink.stats.oversized, sink.stats.reconnects) == (1, 0)


def test_publishing_to_a_missing_topic_names_it_and_does_not_create_it(broker: str) -> None:
    connection = KafkaConnection((broker,), connect_timeout_s=1.0)
    for _ in range(2):
        with (
            closing(KafkaSink(connection)) as sink,
            pytest.raises(ConnectorError, match="never-made does not") as caught,
        ):
            sink.publish([Message(1, "never-made", b"k", b"v")])
        assert not caught.value.retriable


def test_creating_topics_does_not_change_existing_topics(connection: KafkaConnection, admin: Any) -> None:
    first, second = (f"t-{uuid.uuid4().hex[:12]}" for _ in range(2))
    create_topics(connection, [first], partitions=2, replication=1)
    create_topics(connection, [first, second], partitions=3, replication=1)
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics([first, second])}
    assert found == {first: 2, second: 3}


def test_a_topic_that_cannot_be_created_is_a_permanent_error(connection: KafkaConnection) -> None:
    with pytest.raises(ConnectorError, match=r"(?i)replication factor") as caught:
        create_topics(connection, [f"t-{uuid.uuid4().hex[:12]}"], partitions=1, replication=99)
    assert not caught.value.retriable


def test_closing_ends_the_thread_of_a_producer_whose_message_cannot_be_delivered() -> None:
    made = KafkaProducer(bootstrap_servers="127.0.0.1:9", api_version=(4, 0))
    made._accumulator.append(TopicPartition("t", 0), 0, b"k", b"v", [])
    sink = KafkaSink(KafkaConnection(("127.0.0.1:9",)))
    sink._producer = made
    sink.close()
    made._sender.join(10)
    assert not made._sender.is_alive()
