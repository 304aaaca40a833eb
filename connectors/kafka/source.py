"""Apache Kafka: topics as a source, as a sink, and made when asked for. The only importer of the client.

The source reads partitions it assigns itself, from the positions the store holds; no consumer group decides what it
reads. Group offsets are committed beside it, for other people's lag displays. In memory are at most one fetch per
broker and one poll, each of about ``max_bytes``. The sink returns when every in-sync replica has what it was given.
"""

from __future__ import annotations

import importlib.util
import logging
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as ClientPartition
from kafka.errors import (
    AuthorizationError,
    IllegalArgumentError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)
from kafka.net import KafkaNetSocket
from kafka.net.sasl import get_sasl_mechanism
from kafka.structs import OffsetAndMetadata

from driftgauge.connectors.base import ConnectorError, Message, Positions, Record, TopicPartition
from driftgauge.connectors.kafka.probe import KafkaConnection, LargeReads, LargeTlsReads, Login, knock
from driftgauge.connectors.kafka.unpacking import BatchTooLargeError, bound_batches

__all__ = ["KafkaConnection", "KafkaSink", "KafkaSource", "KafkaStats", "create_topics", "test_connection"]

log = logging.getLogger(__name__)

Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)
MIB = 1 << 20
CLOSE_WITHIN_S = 5.0
COMMIT_EVERY_S, COMMIT_WITHIN_S = 1.0, 0.1
LOOK_AGAIN_S = 0.2
CREATED_WITHIN_S = 60.0

_HOPELESS = (
    AuthorizationError,
    IllegalArgumentError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)
"""What waiting does not cure. All else is worth a retry: the agent's patience ends too, and says the cause."""


@dataclass
class KafkaStats:
    """What a source or a sink counts, from its making on.

    Attributes
    ----------
    lost_records : records that retention deleted before we read them (``on_lost`` is ``earliest``)
    stalls : times a client had stopped reading a partition without saying so
    reconnects : times a client was replaced by a new one, for any reason
    oversized : messages that were not published because the broker takes none of their size
    """

    lost_records: int = 0
    stalls: int = 0
    reconnects: int = 0
    oversized: int = 0


class KafkaSource:
    """Reads topics from the store's positions on; implements `driftgauge.connectors.base.Source`.

    Attributes
    ----------
    partitions : only these; None: all there are
    share : (i, n): of those only the i-th of n shares, for sources that read side by side
    group_id : the consumer group whose offsets show how far we are
    max_records, max_bytes : what one `poll` returns at most (one record may exceed ``max_bytes`` by itself)
    max_unpacked_bytes : a compressed batch that would become larger is passed over: one record with a ``problem``
    on_lost : what to do when retention deleted records at our position: stop, or count them and go on with the rest
    stall_timeout_s : a partition with records to read that stands still for so long gets a new client, and a broker
        that is away for so long is reported; 0: never
    refresh_s : how often to look for new partitions and for such standstill
    """

    is_exhausted = False

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Sequence[str],
        *,
        partitions: Collection[TopicPartition] | None = None,
        share: tuple[int, int] = (0, 1),
        group_id: str = "driftgauge",
        max_records: int = 500,
        max_bytes: int = 16 * MIB,
        max_unpacked_bytes: int = 256 * MIB,
        on_lost: Literal["fail", "earliest"] = "fail",
        stall_timeout_s: float = 60.0,
        refresh_s: float = 30.0,
    ) -> None:
        self.stats = KafkaStats()
        self._connection = connection
        self._topics = tuple(topics)
        self._partitions = None if partitions is None else set(partitions)
        self._share = share
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._max_unpacked_bytes = max_unpacked_bytes
        self._on_lost = on_lost
        self._stall_timeout_s = stall_timeout_s
        self._refresh_s = min(refresh_s, stall_timeout_s or refresh_s)
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._held: deque[Record] = deque()
        self._mean_bytes = 1.0
        self._reader: KafkaConsumer | None = None
        self._offsets = _GroupOffsets(connection, group_id)
        self._standing: dict[TopicPartition, tuple[int, float]] = {}
        self._absent_since: float | None = None
        self._next_look = 0.0

    def open(self, positions: Positions) -> None:
        """Connect and assign every partition of the topics; a topic that does not exist is an error."""
        self._drop_reader()
        self._positions = dict(positions)
        self._start_reading()

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Some records; after a broker's restart or a change of leaders it just takes longer."""
        if time.monotonic() >= self._next_look:
            self._look()
        if not self._held:
            self._fetch(timeout_s)
        self._offsets.send()
        return self._take()

    def reached(self) -> dict[TopicPartition, int]:
        """How far each partition was read and handed out, marks of transactions included."""
        if self._held:
            return dict(self._positions)
        return {tp: max(at, self._position(tp)) for tp, at in self._positions.items()}

    def ends(self) -> dict[TopicPartition, int]:
        """Where each partition ended when it was last looked at."""
        return dict(self._ends)

    def offsets_at(self, timestamp: float) -> dict[TopicPartition, int]:
        """Of each partition the first record at or after this time (UTC seconds), or its end."""
        times = {ClientPartition(*tp): int(timestamp * 1000) for tp in self._positions}
        try:
            found = self._open_reader.offsets_for_times(times)
        except KafkaError as error:
            raise _trouble(error, self._connection) from error
        return {
            TopicPartition(*partition): self._ends[TopicPartition(*partition)] if at is None else at.offset
            for partition, at in found.items()
        }

    def commit(self, positions: Positions) -> None:
        """Show how far we are; nothing waits for it and nothing depends on it."""
        self._offsets.show(positions)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records not yet polled, as of the last fetch of each partition."""
        return {tp: max(0, self._end(tp) - at) for tp, at in self._positions.items()}

    def close(self) -> None:
        """Commit what was to be shown, leave."""
        self._offsets.close()
        self._drop_reader()

    # --- reading ---------------------------------------------------------------------------------------------

    def _fetch(self, timeout_s: float) -> None:
        if not self._positions:  # a share without partitions; the client refuses to poll none
            time.sleep(timeout_s)
            return
        n_records = max(1, min(self._max_records, int(self._max_bytes / self._mean_bytes)))
        try:
            fetched = self._open_reader.poll(timeout_ms=max(0, int(timeout_s * 1000)), max_records=n_records)
        except OffsetOutOfRangeError as error:
            self._move_on(error.args[0])
        except BatchTooLargeError as error:
            self._pass_over(error)
        except (KafkaError, OSError) as error:
            raise _trouble(error, self._connection) from error
        else:
            self._held.extend(_record(message) for messages in fetched.values() for message in messages)

    def _take(self) -> list[Record]:
        """As many of the records at hand as fit; the rest stays for the next poll."""
        taken: list[Record] = []
        n_bytes = 0
        while self._held:
            n_bytes += _size(self._held[0])
            if taken and n_bytes > self._max_bytes:
                break
            taken.append(self._held.popleft())
        if taken:
            self._mean_bytes = max(1.0, n_bytes / len(taken))
            self._positions |= {TopicPartition(r.topic, r.partition): r.offset + 1 for r in taken}
        return taken

    def _position(self, partition: TopicPartition) -> int:
        """Of the next record that the client fetches."""
        at = self._open_reader.position(ClientPartition(*partition))
        return self._positions[partition] if at is None else int(at)

    def _end(self, partition: TopicPartition) -> int:
        fetched = self._reader.highwater(ClientPartition(*partition)) if self._reader else None
        return self._ends.get(partition, 0) if fetched is None else int(fetched)

    def _move_on(self, places: Mapping[ClientPartition, int]) -> None:
        """Go to the oldest record that still exists, where that is allowed."""
        for partition, offset in places.items():
            oldest = self._ask("beginning_offsets", [partition])[partition]
            end = self._ask("end_offsets", [partition])[partition]
            where = f"{partition.topic}/{partition.partition}"
            if offset > end:
                text = f"{where} ends at offset {end}, before our position {offset}: the topic was made anew or cut"
                raise ConnectorError(text, retriable=False)
            if offset < oldest:
                self._count_lost(where, oldest - offset)
            self._open_reader.seek(partition, max(offset, oldest))
            self._positions[TopicPartition(*partition)] = max(offset, oldest)

    def _pass_over(self, batch: BatchTooLargeError) -> None:
        """Go to what follows a batch that must not be unpacked, and hand out one record that says so."""
        n_bytes = self._max_unpacked_bytes
        offsets = f"offsets {batch.first} to {batch.after - 1}"
        problem = f"a compressed batch, {offsets}, that unpacks to more than {n_bytes} bytes"
        self._held.append(Record(*batch.partition, batch.after - 1, None, None, problem=problem))
        self._open_reader.seek(ClientPartition(*batch.partition), batch.after)

    def _count_lost(self, where: str, n_lost: int) -> None:
        text = f"{n_lost} records of {where} were deleted from the topic before they were read"
        if self._on_lost == "fail":
            raise ConnectorError(f"{text} (on_lost: earliest would count them and go on)", retriable=False)
        self.stats.lost_records += n_lost
        log.error("%s; going on with the oldest that exists", text)

    # --- the client ------------------------------------------------------------------------------------------

    @property
    def _open_reader(self) -> KafkaConsumer:
        if self._reader is None:
            raise ConnectorError("the Kafka source is not open", retriable=False)
        return self._reader

    def _start_reading(self) -> None:
        _warn_about_slow_checksums()
        self._reader = _connect(
            KafkaConsumer,
            self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            isolation_level="read_committed",  # what a producer took back never happened
            max_partition_fetch_bytes=self._max_bytes,
            fetch_max_bytes=self._max_bytes,
            metadata_max_age_ms=int(self._refresh_s * 1000),
            metrics_enabled=False,
        )
        bound_batches(self._reader, self._max_unpacked_bytes)
        try:
            self._assign(self._reader, self._present(self._reader))
        except KafkaError as error:
            raise _trouble(error, self._connection) from error
        self._offsets.start(self._reader.config["api_version"])
        self._next_look = time.monotonic() + self._refresh_s
        self._standing.clear()
        self._absent_since = None

    def _present(self, reader: KafkaConsumer) -> set[TopicPartition]:
        """Every partition there is. Asking for it also makes sure that the client knows them before its first poll.

        A topic that was made just now, or whose broker comes back just now, may take a moment to show.
        """
        deadline = time.monotonic() + self._connection.connect_timeout_s
        while True:
            found = {topic: reader.partitions_for_topic(topic) for topic in self._topics}
            missing = [topic for topic, partitions in found.items() if not partitions]
            if not missing:
                everything = {TopicPartition(topic, n) for topic, numbers in found.items() for n in numbers}
                return {partition for partition in everything if self._is_ours(partition)}
            if time.monotonic() > deadline:
                names = ", ".join(missing)
                raise ConnectorError(f"Kafka topic {names} does not exist, or we may not read it", retriable=False)
            time.sleep(LOOK_AGAIN_S)

    def _is_ours(self, partition: TopicPartition) -> bool:
        number, n_shares = self._share
        turn = zlib.crc32(partition.topic.encode()) + partition.partition  # the same in every process
        return turn % n_shares == number and (self._partitions is None or partition in self._partitions)

    def _assign(self, reader: KafkaConsumer, present: set[TopicPartition]) -> None:
        partitions = [ClientPartition(*tp) for tp in sorted(present)]
        oldest = self._ask("beginning_offsets", partitions)
        self._ends = {
            TopicPartition(*partition): end for partition, end in self._ask("end_offsets", partitions).items()
        }
        self._positions = {tp: self._positions.get(tp, int(oldest[ClientPartition(*tp)])) for tp in sorted(present)}
        reader.assign(partitions)
        for tp, offset in self._positions.items():
            reader.seek(ClientPartition(*tp), offset)

    def _ask(self, question: Literal["beginning_offsets", "end_offsets"], partitions: list[ClientPartition]) -> Any:
        timeout_ms = int(self._connection.connect_timeout_s * 1000)
        return getattr(self._open_reader, question)(partitions, timeout_ms=timeout_ms)

    def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        self._held.clear()
        if reader is not None:
            with suppress(KafkaError, OSError):
                reader.close(autocommit=False, timeout_ms=int(CLOSE_WITHIN_S * 1000))

    # --- watching over it ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Notice new partitions, partitions that stand still for no reason, and a broker that stays away."""
        self._next_look = time.monotonic() + self._refresh_s
        try:
            reached = {tp: self._position(tp) for tp in self._positions}
            found = self._ask("end_offsets", [ClientPartition(*tp) for tp in self._positions])
            new = self._present(self._open_reader) - set(self._positions)
        except KafkaError as error:
            self._note_absence(error)
            return
        self._absent_since = None
        self._ends = {TopicPartition(*partition): end for partition, end in found.items()}
        if new:
            log.info("new partitions: %s", ", ".join(f"{topic}/{partition}" for topic, partition in sorted(new)))
            self._reconnect()
        elif stalled := self._stalled(reached):
            self.stats.stalls += 1
            log.error("the Kafka client stopped reading %s; replacing it", ", ".join(stalled))
            self._reconnect()
        elif not self._held:
            self._positions |= reached  # what lies between was no record: the mark of a transaction's end

    def _note_absence(self, error: KafkaError) -> None:
        """Patience with a broker that restarts, not with one that stays away."""
        now = time.monotonic()
        self._absent_since = self._absent_since or now
        if isinstance(error, _HOPELESS) or now - self._absent_since >= self._stall_timeout_s > 0:
            raise _trouble(error, self._connection) from error

    def _stalled(self, reached: Mapping[TopicPartition, int]) -> list[str]:
        """Partitions that had records to read all the time and moved not once in ``stall_timeout_s``."""
        now = time.monotonic()
        behind = {tp: at for tp, at in reached.items() if at < self._ends[tp]}
        known = self._standing
        self._standing = {
            tp: known[tp] if tp in known and known[tp][0] == at else (at, now) for tp, at in behind.items()
        }
        if not self._stall_timeout_s:
            return []
        return [
            f"{tp.topic}/{tp.partition}"
            for tp, (_, since) in self._standing.items()
            if now - since >= self._stall_timeout_s
        ]

    def _reconnect(self) -> None:
        self.stats.reconnects += 1
        self._drop_reader()
        self._start_reading()


class _GroupOffsets:
    """Commits a group's offsets, at most once a second and without ever waiting long; what failed is tried again.

    It has a client of its own, so that a group coordinator that is away holds up no reading.
    """

    def __init__(self, connection: KafkaConnection, group_id: str) -> None:
        self._make = partial(_client, KafkaConsumer, connection, group_id=group_id, enable_auto_commit=False)
        self._client: KafkaConsumer | None = None
        self._api_version: tuple[int, ...] | None = None
        self._next: dict[ClientPartition, OffsetAndMetadata] = {}
        self._not_before = 0.0
        self._has_complained = False

    def start(self, api_version: tuple[int, ...]) -> None:
        """Allow for commits. Told the version, the client does not wait for a broker to say it."""
        self._api_version = api_version

    def show(self, positions: Positions) -> None:
        """Commit these positions soon."""
        self._next |= {ClientPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in positions.items()}
        self.send()

    def send(self) -> None:
        """Commit what waits, if the last commit is long enough ago."""
        now = time.monotonic()
        if self._api_version is not None and self._next and now >= self._not_before:
            self._not_before = now + COMMIT_EVERY_S
            self._client = self._client or self._make(api_version=self._api_version)
            self._commit(self._client, COMMIT_WITHIN_S)

    def close(self) -> None:
        """Give what waits a moment, then leave."""
        client, self._client, self._api_version = self._client, None, None
        if client is not None:
            if self._next:
                self._commit(client, COMMIT_EVERY_S)
            with suppress(KafkaError, OSError):
                client.close(autocommit=False, timeout_ms=int(CLOSE_WITHIN_S * 1000))

    def _commit(self, client: KafkaConsumer, timeout_s: float) -> None:
        try:
            client.commit(self._next, timeout_ms=int(timeout_s * 1000))
            self._next = {}
        except (KafkaError, OSError) as error:  # a TLS connection that breaks raises the latter
            if isinstance(error, _HOPELESS) and not self._has_complained:
                log.warning("cannot commit group offsets, so lag displays stand still: %s", error)
                self._has_complained = True


class KafkaSink:
    """Publishes to topics; implements `driftgauge.connectors.base.Sink`.

    A message without a topic is not published: that output is switched off. Nor is one larger than ``max_bytes`` or
    than its broker takes: it is counted and reported, its content stays in the store. After any other failure the
    client is made anew, since one that failed may never recover.
    """

    def __init__(
        self, connection: KafkaConnection, *, max_bytes: int = 32 * MIB, delivery_timeout_s: float = 30.0
    ) -> None:
        self.stats = KafkaStats()
        self._connection = connection
        self._max_bytes = max_bytes
        self._delivery_timeout_s = delivery_timeout_s
        self._refused_sizes: dict[str, int] = {}
        self._producer: KafkaProducer | None = None

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when every in-sync replica has them all; raise `ConnectorError` otherwise."""
        waiting = [message for message in messages if message.topic]
        while waiting:
            try:
                waiting = self._send(waiting)
            except (KafkaError, OSError) as error:
                self._drop_producer()
                self._check_topics({message.topic for message in waiting})
                raise _trouble(error, self._connection) from error

    def close(self) -> None:
        """Release everything; what was published is with the broker already."""
        self._drop_producer()

    def _send(self, messages: Sequence[Message]) -> list[Message]:
        """Publish, and return what must be sent again because the client broke on a message too large."""
        fitting = [message for message in messages if self._fits(message)]
        under_way = [(message, self._begin(message)) for message in fitting]
        for message, sent in under_way:
            try:
                sent.get(self._delivery_timeout_s)
            except MessageSizeTooLargeError:
                self._refused_sizes[message.topic] = _message_size(message)
                self._drop_producer()
                self.stats.reconnects += 1
                return [other for other, future in under_way if not future.succeeded()]
        return []

    def _begin(self, message: Message) -> Any:
        if self._producer is None:
            self._producer = self._connect()
        return self._producer.send(message.topic, message.value, message.key, headers=list(message.headers))

    def _fits(self, message: Message) -> bool:
        size = _message_size(message)
        if size < min(self._max_bytes, self._refused_sizes.get(message.topic, self._max_bytes)):
            return True
        self.stats.oversized += 1
        log.error("a message of %d bytes is too large for topic %s and was not published", size, message.topic)
        return False

    def _connect(self) -> KafkaProducer:
        return _connect(
            KafkaProducer,
            self._connection,
            acks="all",
            linger_ms=5,
            max_request_size=2 * self._max_bytes,  # ours is the check that counts
            delivery_timeout_ms=int(self._delivery_timeout_s * 1000),
            request_timeout_ms=int(self._delivery_timeout_s * 500),
            max_block_ms=int(self._connection.connect_timeout_s * 1000),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError):
                producer.close(timeout=0)

    def _check_topics(self, topics: set[str]) -> None:
        """Tell a topic that does not exist, for which the client just waits, from other reasons."""
        if missing := sorted(topics - existing_topics(self._connection)):
            names = ", ".join(missing)
            raise ConnectorError(f"Kafka topic {names} does not exist, or we may not write to it", retriable=False)


def test_connection(connection: KafkaConnection) -> None:
    """Return when a broker lets us in; raise a `ConnectorError` that says what stands in the way."""
    knock(connection, _login(connection))


test_connection.__test__ = False  # type: ignore[attr-defined]  # it tests a connection, and is no test


def create_topics(connection: KafkaConnection, names: Sequence[str], partitions: int, replication: int) -> None:
    """Make the topics that do not exist, and wait until they can be used."""
    settings = {"num_partitions": partitions, "replication_factor": replication}
    with _administration(connection) as admin:
        missing = sorted(set(names) - set(admin.list_topics()))
        for name in missing:
            with suppress(TopicAlreadyExistsError):  # another agent was faster
                admin.create_topics({name: settings})
        if missing:
            admin.wait_for_topics(missing, timeout_ms=int(CREATED_WITHIN_S * 1000))


def existing_topics(connection: KafkaConnection) -> set[str]:
    """Topics that exist and that we may know of."""
    with _administration(connection) as admin:
        return set(admin.list_topics())


@contextmanager
def _administration(connection: KafkaConnection) -> Iterator[KafkaAdminClient]:
    with closing(_connect(KafkaAdminClient, connection)) as admin:
        try:
            yield admin
        except KafkaError as error:
            raise _trouble(error, connection) from error


def _connect(make: Callable[..., Client], connection: KafkaConnection, **options: Any) -> Client:
    """A client that has reached its broker; otherwise a `ConnectorError` that says why not."""
    knock(connection, _login(connection))
    try:
        return _client(make, connection, **options)
    except KafkaError as error:
        raise _trouble(error, connection) from error


class _Direct(KafkaNetSocket):  # type: ignore[misc]  # the client ships no types
    """How the client connects without a proxy, but to sockets with large reads: its scheme stands for that."""

    SCHEMES = ("direct",)

    def socket(self, family: int = -1, sock_type: int = -1, proto: int = -1) -> LargeReads:
        return LargeReads(family, sock_type, proto)


def _client(make: Callable[..., Client], connection: KafkaConnection, **options: Any) -> Client:
    tls = connection.tls_context()
    if tls is not None:
        tls.sslsocket_class = LargeTlsReads
    return make(
        bootstrap_servers=list(connection.bootstrap_servers),
        bootstrap_timeout_ms=int(connection.connect_timeout_s * 1000),
        client_id=connection.client_id,
        reconnect_backoff_max_ms=1_000,
        security_protocol=connection.security_protocol,
        ssl_context=tls,
        proxy_url="direct://",
        **_credentials(connection),
        **options,
    )


def _credentials(connection: KafkaConnection) -> dict[str, str]:
    if not connection.has_login:
        return {}
    return {
        "sasl_mechanism": connection.sasl_mechanism,
        "sasl_plain_username": connection.sasl_username,
        "sasl_plain_password": connection.sasl_password,
    }


def _login(connection: KafkaConnection) -> Callable[[], Login] | None:
    if not connection.has_login:
        return None
    try:
        mechanism = get_sasl_mechanism(connection.sasl_mechanism)
    except KeyError:
        raise ConnectorError(f"unknown SASL mechanism {connection.sasl_mechanism}", retriable=False) from None
    return partial(mechanism, **_credentials(connection))


def _trouble(error: Exception, connection: KafkaConnection) -> ConnectorError:
    """What a failure of the client means: what knocking finds, else what the client says."""
    try:
        knock(connection, _login(connection))
    except ConnectorError as found:
        return found
    return ConnectorError(f"Kafka: {error}", retriable=not isinstance(error, _HOPELESS))


@cache
def _warn_about_slow_checksums() -> None:
    if importlib.util.find_spec("crc32c") is None:
        log.warning("the package crc32c is missing: reading from Kafka is 10 to 20 times slower without it")


def _record(message: Any) -> Record:
    headers = tuple((name, value or b"") for name, value in message.headers)
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        headers,
        message.timestamp / 1000,
    )


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _message_size(message: Message) -> int:
    return len(message.key) + len(message.value) + sum(len(name) + len(value) for name, value in message.headers)
