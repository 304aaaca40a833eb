"""Load, kills, broker restarts, broken connections and garbage at random from a seed; then the books must balance.

The agent runs as a separate process on a real broker, reached through a proxy that can break connections. When the time
is up, the agent reads the rest, serves, and is stopped in order, so that it emits pending estimates. Its store and its
messages are then compared with those of an oracle: an agent in memory without failures, over the same records in the
order in which they were applied. The account must add up: every record is used, a dead letter, or a tombstone. With
``dirt``, the traffic also has what `tests/soak/dirt.py` plants.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from driftgauge.agent.service import build
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.kafka.local_broker import KafkaBroker, free_ports
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Chunk, Event, Generation, Label, Rejected
from tests.brokers import SHORT_SESSION
from tests.deadline import until
from tests.kafka.agent_process import AgentProcess
from tests.kafka.proxy import Proxy
from tests.pipeline.logs import START, make_log
from tests.soak.agent import serving
from tests.soak.dirt import PLANTED, Dirt, Kind, problems
from tests.soak.oracle import account_violations, differences, example, memory_of, order_violations, replay

AGENT = (sys.executable, "-m", "tests.soak.agent")
PARTITIONS = 2
RECORDS_PER_S = 60.0
PLANTED_SHARE = 0.05
CATCH_UP_S, AT_WORK_WITHIN_S, SERVING_WITHIN_S = 600.0, 60.0, 300.0

SETTINGS: dict[str, Any] = {
    "windows": {
        "window_s": 1_200,
        "window_events": 300,
        "hop_s": 300,
        "emit_every_events": 100,
        "emit_every_labels": 50,
    },
    "estimates": {"min_events": 5},
    "bounds": {"max_in_flight": 5, "max_waiting_chunks": 3, "in_flight_expiry_s": 40},
    "labels": {"horizon_s": 2_000},
    "predictions": {"publish": "final"},
    "decode": {"encoding": "msgpack"},
    "store": {"max_dead_letters": 10_000_000},  # the oracle compares every one of a long run
}
KAFKA: dict[str, Any] = {
    "create_topics": True,
    "partitions": PARTITIONS,
    "max_records": 100,
    "stall_timeout_s": 10,
    "connect_timeout_s": 10,
    "patience_s": 300,
    "pause_after_s": 3_600,  # the oracle knows no silences: only the stop emits pending estimates
}


Headers: TypeAlias = Sequence[tuple[str, bytes]]
Failure: TypeAlias = Literal["kill", "disconnect", "restart", "reader"]


@dataclass
class Ledger:
    """What happened, and where it differs from the oracle. All but ``violations`` are counts.

    ``sent`` and ``accounted`` are records, in the topics and in the store's audit; ``used``, ``not_used`` and
    ``tombstones`` are all of them by what became of them; ``published_again`` are messages on the wire that repeat an
    earlier one.
    """

    seed: int
    seconds: float
    sent: int = 0
    accounted: int = 0
    lost: int = 0
    doubled: int = 0
    used: int = 0
    not_used: int = 0
    tombstones: int = 0
    planted: int = 0
    responses: int = 0
    dead_letters: int = 0
    published: int = 0
    published_again: int = 0
    kills: int = 0
    readers_killed: int = 0
    broker_restarts: int = 0
    disconnects: int = 0
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The content of ``soak.json``: the number of violations, and their texts as ``details``."""
        return {**asdict(self), "violations": len(self.violations), "details": self.violations}


def soak(
    folder: Path,
    duration_s: float,
    seed: int,
    report: Callable[[str], object] = lambda _: None,
    *,
    records_per_s: float = RECORDS_PER_S,
    readers: int = 0,
    dirt: Sequence[Kind] = (),
) -> Ledger:
    """Cause failures for ``duration_s`` seconds from when the agent is at work, and return the books.

    The first failure is the kill of a reader, or of the agent where it has no readers; the others are random.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    ledger = Ledger(seed, duration_s)
    with world(folder, readers) as (broker, proxy, agent, settings):
        sender = Sender(broker.address, settings, seed, duration_s, records_per_s, dirt)
        sender.start()
        until_at_work(agent, AT_WORK_WITHIN_S)
        report(fail("reader" if readers else "kill", rng, broker, proxy, agent, ledger))
        end = time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0:
            if rng.random() < 0.8:
                until_at_work(agent, min(left_s, AT_WORK_WITHIN_S))
            time.sleep(min(left_s, rng.uniform(0.0, 4.0)))
            if not agent.is_running:
                ledger.violations.append(f"the agent ended by itself: {agent.log.read_text()[-2_000:]}")
                break
            report(fail(random_failure(rng, agent), rng, broker, proxy, agent, ledger))
        sender.join()
        if not sender.is_done:
            ledger.violations.append("the sender gave up")
        report("the time is up; catching up")
        proxy.cut(0, after_bytes=0)
        finish(broker.address, agent, settings, ledger)
        check(broker.address, agent.store, settings, ledger)
    return ledger


@contextmanager
def world(folder: Path, readers: int) -> Iterator[tuple[KafkaBroker, Proxy, AgentProcess, Settings]]:
    """A broker that is reached through a proxy, and an agent that reads from it."""
    (port,) = free_ports(1)
    proxy = Proxy(("127.0.0.1", port))
    properties = {**SHORT_SESSION, "advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"}
    with closing(proxy), KafkaBroker(folder / "broker", port, properties=properties) as broker:
        kafka = {**KAFKA, "bootstrap_servers": [f"127.0.0.1:{proxy.port}"], "readers": readers}
        with AgentProcess(folder / "agent", {**SETTINGS, "kafka": kafka}, AGENT) as agent:
            settings = load_settings(agent.config)
            create_topics(build.connection(settings), build.topics_used(settings), PARTITIONS, 1)
            yield broker, proxy, agent, settings


def until_at_work(agent: AgentProcess, timeout_s: float) -> None:
    """Wait until something new is committed, so that failures do not only meet an agent that is starting."""
    n_applied = sum(agent.positions().values())
    with suppress(AssertionError):
        until(lambda: not agent.is_running or sum(agent.positions().values()) > n_applied, timeout_s, every_s=0.1)


def random_failure(rng: random.Random, agent: AgentProcess) -> Failure:
    """The kind of the next failure; a reader can only be killed when there is one."""
    failures: tuple[Failure, ...] = ("kill", "disconnect", "restart", "reader")
    return rng.choices(failures, (5, 4, 2, 3 if agent.children() else 0))[0]


def fail(
    failure: Failure, rng: random.Random, broker: KafkaBroker, proxy: Proxy, agent: AgentProcess, ledger: Ledger
) -> str:
    """Cause one failure and count it."""
    match failure:
        case "reader":
            ledger.readers_killed += 1
            with suppress(ProcessLookupError, IndexError):  # the readers may be gone by now
                os.kill(rng.choice(agent.children()), signal.SIGKILL)
        case "kill":
            ledger.kills += 1
            agent.kill()
            agent.start()
        case "disconnect":
            ledger.disconnects += 1
            proxy.cut(rng.randint(1, 4), after_bytes=rng.randint(0, 50_000))
        case "restart":
            ledger.broker_restarts += 1
            broker.restart()
    return failure


class Sender(threading.Thread):
    """Publishes a log with events of every kind, evenly over the time, and does not give up."""

    def __init__(
        self, address: str, settings: Settings, seed: int, duration_s: float, records_per_s: float, dirt: Sequence[Kind]
    ) -> None:
        super().__init__(daemon=True)
        self._address, self._topics = address, settings.kafka.topics
        self.is_done = False
        self._rng = random.Random(seed + 1)  # noqa: S311 - no secret
        self._duration_s = duration_s
        self._log = make_log(seed, int(records_per_s * duration_s / 2))
        self._dirt = Dirt(dirt, random.Random(seed + 2))  # noqa: S311 - no secret

    def run(self) -> None:
        began = time.monotonic()
        options = {"acks": "all", "retries": 1_000_000, "delivery_timeout_ms": 3_600_000, "max_block_ms": 600_000}
        options["enable_idempotence"] = False  # a retry may write a record twice, and after those that came later
        with closing(KafkaProducer(bootstrap_servers=self._address, **options)) as producer:
            at = START
            for n, event in enumerate(self._log):
                time.sleep(max(0.0, began + self._duration_s * n / len(self._log) - time.monotonic()))
                self._send(producer, isinstance(event, Label), self._bytes(event))
                at = max(at, event.event_time) if isinstance(event, Generation) else at
                if self._rng.random() < PLANTED_SHARE:
                    for planted in self._dirt.next(at, time.time()):
                        self._send(producer, planted.is_label, planted.value, planted.headers)
            producer.flush(timeout=600)
        self.is_done = True

    def _send(self, producer: KafkaProducer, is_label: bool, value: bytes | None, headers: Headers = ()) -> None:
        topic = self._topics.labels[0] if is_label else self._topics.generations[0]
        partition = self._rng.randrange(PARTITIONS)
        producer.send(topic, value, b"k", headers=list(headers), partition=partition)  # a tombstone needs a key

    def _bytes(self, event: Event) -> bytes | None:
        """The event as a record; sometimes garbage or a tombstone instead."""
        if not isinstance(event, Generation | Chunk | Label) or self._rng.random() < 0.01:
            return self._garbage()
        if self._rng.random() < 0.01:
            return None
        return encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")

    def _garbage(self) -> bytes:
        whole = encode_label(Label("l", "r", 1.0, 1.0))
        kinds = (self._rng.randbytes(40), whole[:-3], b"", b"\x91" * 2_000, b"\xc1", b'{"type": "label"}')
        return self._rng.choice(kinds)


def finish(address: str, agent: AgentProcess, settings: Settings, ledger: Ledger) -> None:
    """Let the agent read to the end, and stop it in order once it serves: an earlier stop emits nothing."""
    n_sent = sum(len(records) for records in records_in(address, build.topics_read(settings)).values())
    try:
        if not agent.is_running:
            agent.start()
        agent.until_applied(n_sent, CATCH_UP_S)
        until(serving(agent.config.parent, agent.pid).exists, SERVING_WITHIN_S)
    except AssertionError as stuck:
        ledger.violations.append(f"the agent did not catch up: {str(stuck)[-2_000:]}")
    if agent.is_running and agent.stop() != 0:
        ledger.violations.append(f"the agent did not stop in order: {agent.log.read_text()[-2_000:]}")


def check(address: str, store: Path, settings: Settings, ledger: Ledger) -> None:
    """Balance the books, and compare the agent with the oracle."""
    log = {(r.topic, r.partition, r.offset): r for records in records_in(address, build.topics_read(settings)).values()
           for r in records}  # fmt: skip
    with closing(build.store(settings, keep_audit=True)) as opened:
        applied = opened.audit()
        ledger.sent, ledger.accounted = len(log), len(set(applied))
        ledger.lost, ledger.doubled = len(log.keys() - set(applied)), len(applied) - len(set(applied))
        ledger.violations += order_violations(applied)
        records = [log[place] for place in applied]
        replayed, expected, account = replay(records, settings)
        ledger.violations += differences(memory_of(opened, replayed), memory_of(replayed, replayed))
        ledger.used, ledger.not_used, ledger.tombstones = account.used, account.n_dead, account.tombstones
        ledger.planted = sum(PLANTED in dict(record.headers) for record in records)
        letters = opened.newest(Rejected, len(log) + 1)
        ledger.violations += account_violations(account, records, letters)
        correct = {row.id: row.correct for row in replayed.tables.responses.values()}
        ledger.violations += problems(records, letters, correct)
    with closing(sqlite3.connect(store)) as db:
        ledger.responses, ledger.dead_letters = db.execute(
            "SELECT (SELECT count(*) FROM responses), (SELECT count(*) FROM dead_letters)"
        ).fetchone()
    written = records_in(address, [topic for topic in build.topics_used(settings) if topic.startswith("driftgauge.")])
    found = Counter((r.topic, r.key, r.value) for records in written.values() for r in records)
    ledger.published, ledger.published_again = sum(found.values()), sum(found.values()) - len(found)
    if missing := expected - found.keys():
        ledger.violations.append(f"{len(missing)} messages were never published, {example(missing)}")
    if extra := found.keys() - expected:
        ledger.violations.append(f"{len(extra)} messages should not have been published, {example(extra)}")


def records_in(address: str, topics: Any) -> dict[TopicPartition, list[Record]]:
    """All records of these topics, by the plain client."""
    with closing(KafkaConsumer(bootstrap_servers=address, group_id=None)) as consumer:
        places = [TopicPartition(topic, n) for topic in topics for n in sorted(consumer.partitions_for_topic(topic))]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        found: dict[TopicPartition, list[Record]] = {place: [] for place in places}

        def is_at_the_end() -> bool:
            for place, messages in consumer.poll(200).items():
                found[place] += [
                    Record(place.topic, place.partition, m.offset, m.key, m.value, tuple(m.headers), m.timestamp / 1000)
                    for m in messages
                ]
            return all(consumer.position(place) >= end for place, end in ends.items())

        until(is_at_the_end, 600.0)
        return found


def write(ledger: Ledger, path: Path) -> None:
    path.write_text(json.dumps(ledger.as_json(), indent=2) + "\n")
