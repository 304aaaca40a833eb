"""Kafka topics as a source: partitions are read from the positions that the store holds.

The source assigns partitions to itself; no consumer group decides what it reads. Group offsets are committed beside it,
for lag displays only (`group_offsets`). In memory are at most one fetch per broker and one poll, each of
about ``max_bytes``.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from driftgauge.connectors.base import ConnectorError, Positions, Record, TopicPartition
from driftgauge.connectors.kafka.client import (
    CLOSE_TIMEOUT_S,
    MIB,
    PERMANENT_ERRORS,
    KafkaStats,
    connect,
    explained,
    warn_about_slow_checksums,
)
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.group_offsets import GroupOffsets
from driftgauge.connectors.kafka.records import OnLost, next_in_range, record_of, size_of, unread
from driftgauge.connectors.kafka.stalls import StallDetector
from driftgauge.connectors.kafka.topics import missing_topics
from driftgauge.connectors.kafka.unpacking import BatchTooLargeError, bound_batches

log = logging.getLogger(__name__)

TOPIC_RETRY_S = 0.2


class KafkaSource:
    """Reads topics from given positions on; implements `driftgauge.connectors.base.Source`.

    Parameters
    ----------
    partitions : read these only; None: all partitions of the topics
    share : (i, n): of those, read the i-th of n shares, for sources that read side by side
    group_id : consumer group whose offsets show how far the source has read
    max_records, max_bytes : bounds of one `poll` (a single record may exceed ``max_bytes``)
    max_unpacked_bytes : a compressed batch that unpacks to more is skipped: one record with a ``problem``
    on_lost : when retention deleted records at the position: raise an error, or count them and continue at the
        earliest record that exists
    stall_timeout_s : seconds after which a partition that has records to read and does not move gets a new client, and
        after which an unavailable broker is reported; 0: never
    refresh_s : seconds between two checks for new partitions and for stalled ones
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
        on_lost: OnLost = "fail",
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
        self._on_lost: OnLost = on_lost
        self._stall_timeout_s = stall_timeout_s
        self._refresh_s = min(refresh_s, stall_timeout_s or refresh_s)
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._buffer: deque[Record] = deque()
        self._mean_bytes = 1.0
        self._opened: KafkaConsumer | None = None
        self._group_offsets = GroupOffsets(connection, group_id)
        self._stalls = StallDetector(stall_timeout_s)
        self._absent_since: float | None = None
        self._next_refresh = 0.0

    def open(self, positions: Positions) -> None:
        """Connect and assign every partition of the topics; a topic that does not exist is an error."""
        self._close_consumer()
        self._positions = dict(positions)
        self._open_consumer()

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Return some records. While a broker restarts or leaders change, polling only takes longer."""
        if time.monotonic() >= self._next_refresh:
            self._refresh()
        if not self._buffer:
            self._fetch(timeout_s)
        self._group_offsets.commit_pending()
        return self._take()

    def positions(self) -> dict[TopicPartition, int]:
        """Next offset of each partition, behind all polled records and the transaction markers that follow them."""
        if self._buffer:
            return dict(self._positions)
        return {tp: max(at, self._client_position(tp)) for tp, at in self._positions.items()}

    def end_offsets(self) -> dict[TopicPartition, int]:
        """End offset of each partition, as of the last refresh."""
        return dict(self._ends)

    def offsets_at(self, timestamp: float) -> dict[TopicPartition, int]:
        """Offset of each partition's first record at or after this time (UTC seconds), or its end offset."""
        times = {ClientPartition(*tp): int(timestamp * 1000) for tp in self._positions}
        try:
            found = self._consumer.offsets_for_times(times)
        except KafkaError as error:
            raise explained(error, self._connection) from error
        return {
            TopicPartition(*partition): self._ends[TopicPartition(*partition)] if at is None else at.offset
            for partition, at in found.items()
        }

    def commit(self, positions: Positions) -> None:
        """Show these positions as group offsets; nothing waits for it and nothing depends on it."""
        self._group_offsets.commit(positions)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records not yet polled, as of the last fetch of each partition."""
        return {tp: max(0, self._end(tp) - at) for tp, at in self._positions.items()}

    def close(self) -> None:
        """Commit pending group offsets and release the clients; safe to call twice."""
        self._group_offsets.close()
        self._close_consumer()

    # --- reading ---------------------------------------------------------------------------------------------

    def _fetch(self, timeout_s: float) -> None:
        if not self._positions:  # a share without partitions: the client raises an error when none are assigned
            time.sleep(timeout_s)
            return
        n_records = max(1, min(self._max_records, int(self._max_bytes / self._mean_bytes)))
        try:
            fetched = self._consumer.poll(timeout_ms=max(0, int(timeout_s * 1000)), max_records=n_records)
        except OffsetOutOfRangeError as error:
            self._reset_positions(error.args[0])
        except BatchTooLargeError as error:
            self._skip_batch(error)
        except (KafkaError, OSError) as error:
            raise explained(error, self._connection) from error
        else:
            self._buffer.extend(record_of(message) for messages in fetched.values() for message in messages)

    def _take(self) -> list[Record]:
        """Take as many buffered records as fit into ``max_bytes``; the others stay for the next poll."""
        taken: list[Record] = []
        n_bytes = 0
        while self._buffer:
            n_bytes += size_of(self._buffer[0])
            if taken and n_bytes > self._max_bytes:
                break
            taken.append(self._buffer.popleft())
        if taken:
            self._mean_bytes = max(1.0, n_bytes / len(taken))
            self._positions |= {TopicPartition(r.topic, r.partition): r.offset + 1 for r in taken}
        return taken

    def _client_position(self, partition: TopicPartition) -> int:
        """Offset of the next record that the client fetches."""
        at = self._consumer.position(ClientPartition(*partition))
        return self._positions[partition] if at is None else int(at)

    def _end(self, partition: TopicPartition) -> int:
        fetched = self._opened.highwater(ClientPartition(*partition)) if self._opened else None
        return self._ends.get(partition, 0) if fetched is None else int(fetched)

    def _reset_positions(self, out_of_range: Mapping[ClientPartition, int]) -> None:
        """Continue at the earliest record that exists, if ``on_lost`` allows it."""
        for partition, offset in out_of_range.items():
            earliest = self._query("beginning_offsets", [partition])[partition]
            end = self._query("end_offsets", [partition])[partition]
            place = TopicPartition(*partition)
            at = next_in_range(place, offset, earliest, end, self._on_lost, self.stats)
            self._consumer.seek(partition, at)
            self._positions[place] = at

    def _skip_batch(self, batch: BatchTooLargeError) -> None:
        """Continue behind a batch that is too large to unpack, and buffer one record that reports it."""
        self._buffer.append(unread(batch, self._max_unpacked_bytes))
        self._consumer.seek(ClientPartition(*batch.partition), batch.after)

    # --- the client ------------------------------------------------------------------------------------------

    @property
    def _consumer(self) -> KafkaConsumer:
        if self._opened is None:
            raise ConnectorError("the Kafka source is not open", retriable=False)
        return self._opened

    def _open_consumer(self) -> None:
        warn_about_slow_checksums()
        self._opened = connect(
            KafkaConsumer,
            self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            isolation_level="read_committed",  # records of an aborted transaction are not read
            max_partition_fetch_bytes=self._max_bytes,
            fetch_max_bytes=self._max_bytes,
            metadata_max_age_ms=int(self._refresh_s * 1000),
            metrics_enabled=False,
        )
        bound_batches(self._opened, self._max_unpacked_bytes)
        try:
            self._assign(self._existing_partitions())
        except KafkaError as error:
            raise explained(error, self._connection) from error
        self._group_offsets.start(self._opened.config["api_version"])
        self._next_refresh = time.monotonic() + self._refresh_s
        self._stalls.reset()
        self._absent_since = None

    def _existing_partitions(self) -> set[TopicPartition]:
        """Partitions that exist and belong to this source; asking also makes the client know them before it polls.

        A topic that was just created, or whose broker has just come back, may take a moment to appear.
        """
        deadline = time.monotonic() + self._connection.connect_timeout_s
        while True:
            found = {topic: self._consumer.partitions_for_topic(topic) for topic in self._topics}
            missing = [topic for topic, partitions in found.items() if not partitions]
            if not missing:
                everything = {TopicPartition(topic, n) for topic, numbers in found.items() for n in numbers}
                return {partition for partition in everything if self._is_assigned(partition)}
            if time.monotonic() > deadline:
                raise missing_topics(missing, "read")
            time.sleep(TOPIC_RETRY_S)

    def _is_assigned(self, partition: TopicPartition) -> bool:
        number, n_shares = self._share
        share = (zlib.crc32(partition.topic.encode()) + partition.partition) % n_shares  # the same in every process
        return share == number and (self._partitions is None or partition in self._partitions)

    def _assign(self, assigned: set[TopicPartition]) -> None:
        partitions = [ClientPartition(*tp) for tp in sorted(assigned)]
        earliest = self._query("beginning_offsets", partitions)
        self._ends = {
            TopicPartition(*partition): end for partition, end in self._query("end_offsets", partitions).items()
        }
        self._positions = {tp: self._positions.get(tp, int(earliest[ClientPartition(*tp)])) for tp in sorted(assigned)}
        self._consumer.assign(partitions)
        for tp, offset in self._positions.items():
            self._consumer.seek(ClientPartition(*tp), offset)

    def _query(self, question: Literal["beginning_offsets", "end_offsets"], partitions: list[ClientPartition]) -> Any:
        timeout_ms = int(self._connection.connect_timeout_s * 1000)
        return getattr(self._consumer, question)(partitions, timeout_ms=timeout_ms)

    def _close_consumer(self) -> None:
        consumer, self._opened = self._opened, None
        self._buffer.clear()
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))

    # --- watching the client ---------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Notice new partitions, stalled partitions, and a broker that stays away."""
        self._next_refresh = time.monotonic() + self._refresh_s
        try:
            positions = {tp: self._client_position(tp) for tp in self._positions}
            ends = self._query("end_offsets", [ClientPartition(*tp) for tp in self._positions])
            new = self._existing_partitions() - set(self._positions)
        except KafkaError as error:
            self._note_absence(error)
            return
        self._absent_since = None
        self._ends = {TopicPartition(*partition): end for partition, end in ends.items()}
        if new:
            log.info("new partitions: %s", _names(sorted(new)))
            self._reconnect()
        elif stalled := self._stalls.update(positions, self._ends, now=time.monotonic()):
            self.stats.stalls += 1
            log.error("the Kafka client stopped reading %s; replacing it", _names(stalled))
            self._reconnect()
        elif not self._buffer:
            self._positions |= positions  # only transaction markers lie between the last record and these positions

    def _note_absence(self, error: KafkaError) -> None:
        """Tolerate a broker that restarts, but not one that stays away."""
        now = time.monotonic()
        self._absent_since = self._absent_since or now
        if isinstance(error, PERMANENT_ERRORS) or now - self._absent_since >= self._stall_timeout_s > 0:
            raise explained(error, self._connection) from error

    def _reconnect(self) -> None:
        self.stats.reconnects += 1
        self._close_consumer()
        self._open_consumer()


def _names(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(f"{topic}/{partition}" for topic, partition in partitions)
