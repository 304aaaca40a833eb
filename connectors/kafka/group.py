"""Kafka topics as a member of a consumer group: for processes without state, which share the partitions.

The broker decides who reads what, and keeps the positions. They are committed after the work on their records is
published. So whatever makes partitions move (a member joins, leaves, dies, is paused, or takes too long), the next
reader repeats at most what was not committed. In memory is one fetch per broker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

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
from driftgauge.connectors.kafka.joining import keep_finished_joins
from driftgauge.connectors.kafka.records import OnLost, next_in_range, record_of, unread
from driftgauge.connectors.kafka.stalls import StallDetector
from driftgauge.connectors.kafka.topics import existing_topics, missing_topics
from driftgauge.connectors.kafka.unpacking import BatchTooLargeError, bound_batches

log = logging.getLogger(__name__)

Rebalance = Literal["cooperative", "eager"]
_ASSIGNORS = {"cooperative": CooperativeStickyAssignor, "eager": RangePartitionAssignor}
_NOT_MINE = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)
"""Errors of a commit after the partitions have moved to others."""


class KafkaGroup:
    """Reads its share of some topics, from the committed offsets on; a partition without one from its first record.

    Parameters
    ----------
    group_id : the group; all its members read the same topics
    member_id : a member that comes back under this name within its session keeps its partitions; empty: a new name
    rebalance : ``cooperative`` moves only the partitions that must, ``eager`` takes all from all for a moment
    session_timeout_s : seconds without a sign of life after which the partitions of a member move
    max_poll_interval_s : seconds between two polls after which they move as well
    max_records, max_bytes, max_unpacked_bytes, on_lost, stall_timeout_s, refresh_s : as for `KafkaSource`
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Sequence[str],
        *,
        group_id: str,
        member_id: str = "",
        rebalance: Rebalance = "cooperative",
        session_timeout_s: float = 45.0,
        max_poll_interval_s: float = 300.0,
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
        self._group: dict[str, Any] = {
            "group_id": group_id,
            "group_instance_id": member_id or None,
            "partition_assignment_strategy": (_ASSIGNORS[rebalance],),
            "session_timeout_ms": int(session_timeout_s * 1000),
            # a member hears of a rebalance by its heartbeat, and the others wait for it
            "heartbeat_interval_ms": min(1_000, int(session_timeout_s * 1000 / 3)),
            "max_poll_interval_ms": int(max_poll_interval_s * 1000),
        }
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._max_unpacked_bytes = max_unpacked_bytes
        self._on_lost: OnLost = on_lost
        self._stall_timeout_s = stall_timeout_s
        self._refresh_s = min(refresh_s, stall_timeout_s or refresh_s)
        self._stalls = StallDetector(stall_timeout_s)
        self._absent_since: float | None = None
        self._next_refresh = 0.0
        self._positions: dict[TopicPartition, int] = {}
        self._opened: KafkaConsumer | None = None

    def open(self) -> None:
        """Connect and join the group; a topic that does not exist is an error."""
        self.close()
        warn_about_slow_checksums()
        if missing := sorted({*self._topics} - existing_topics(self._connection)):
            raise missing_topics(missing, "read")
        self._opened = connect(
            KafkaConsumer,
            self._connection,
            **self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            isolation_level="read_committed",
            max_partition_fetch_bytes=self._max_bytes,
            fetch_max_bytes=self._max_bytes,
            metadata_max_age_ms=int(self._refresh_s * 1000),
            metrics_enabled=False,
        )
        bound_batches(self._opened, self._max_unpacked_bytes)
        keep_finished_joins(self._opened)
        self._opened.subscribe(self._topics)
        self._await_metadata()
        self._next_refresh = time.monotonic() + self._refresh_s
        self._stalls.reset()
        self._absent_since = None

    def poll(self, timeout_s: float) -> list[Record]:
        """Some records of the partitions that belong to this member now; partitions move during this call only."""
        if time.monotonic() >= self._next_refresh:
            self._refresh()
        try:
            fetched = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=self._max_records)
        except NoOffsetForPartitionError as error:
            self._consumer.seek_to_beginning(*error.args[0])
        except OffsetOutOfRangeError as error:
            self._go_on(error.args[0])
        except BatchTooLargeError as error:
            self._consumer.seek(ClientPartition(*error.partition), error.after)
            return [unread(error, self._max_unpacked_bytes)]
        except (KafkaError, OSError) as error:
            raise explained(error, self._connection) from error
        else:
            records = [record_of(message) for messages in fetched.values() for message in messages]
            self._positions |= {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
            return records
        return []

    def commit(self, positions: Positions) -> bool:
        """Commit offsets, and wait for it; False: partitions have moved, and others repeat the work on them."""
        offsets = {ClientPartition(*tp): OffsetAndMetadata(at, "", -1) for tp, at in positions.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=int(self._connection.connect_timeout_s * 1000))
        except _NOT_MINE as error:
            log.info("partitions have moved, so some records are extracted again: %s", type(error).__name__)
            return False
        except (KafkaError, OSError) as error:
            raise explained(error, self._connection) from error
        return True

    def assigned(self) -> set[TopicPartition]:
        """The partitions that belong to this member."""
        return set() if self._opened is None else {TopicPartition(*tp) for tp in self._opened.assignment()}

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records of its partitions that were not polled yet, as of the last fetch of each."""
        found = {}
        for place in self.assigned():
            end, at = self._consumer.highwater(ClientPartition(*place)), self._positions.get(place)
            if end is not None and at is not None:
                found[place] = max(0, end - at)
        return found

    def close(self) -> None:
        """Leave the group, so that others take over at once; safe to call twice."""
        consumer, self._opened = self._opened, None
        self._positions.clear()
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))

    @property
    def _consumer(self) -> KafkaConsumer:
        if self._opened is None:
            raise ConnectorError("the member of the group is not open", retriable=False)
        return self._opened

    def _await_metadata(self) -> None:
        """Return when the client knows the partitions: the leader of a group that does not know them assigns none."""
        deadline = time.monotonic() + self._connection.connect_timeout_s
        while not all(map(self._consumer.partitions_for_topic, self._topics)):
            if time.monotonic() > deadline:
                text = f"the broker names no partitions of topic {', '.join(self._topics)}"
                raise ConnectorError(text, retriable=True)

    def _go_on(self, out_of_range: Mapping[ClientPartition, int]) -> None:
        for partition, offset in out_of_range.items():
            earliest, end = self._ends("beginning_offsets", [partition]), self._ends("end_offsets", [partition])
            place = TopicPartition(*partition)
            at = next_in_range(place, offset, earliest[place], end[place], self._on_lost, self.stats)
            self._consumer.seek(partition, at)

    def _ends(
        self, question: Literal["beginning_offsets", "end_offsets"], partitions: Sequence[ClientPartition]
    ) -> dict[TopicPartition, int]:
        timeout_ms = int(self._connection.connect_timeout_s * 1000)
        found = getattr(self._consumer, question)(partitions, timeout_ms=timeout_ms)
        return {TopicPartition(*partition): at for partition, at in found.items()}

    def _refresh(self) -> None:
        """Notice stalled partitions, and a broker that stays away; the client itself notices new partitions."""
        now = self._next_refresh = time.monotonic()
        self._next_refresh += self._refresh_s
        partitions, timeout_ms = list(self._consumer.assignment()), int(self._connection.connect_timeout_s * 1000)
        try:
            ends = self._ends("end_offsets", partitions) if partitions else {}
            found = {TopicPartition(*tp): self._consumer.position(tp, timeout_ms=timeout_ms) for tp in partitions}
        except NoOffsetForPartitionError as error:
            self._consumer.seek_to_beginning(*error.args[0])
            return
        except KafkaError as error:
            self._absent_since = self._absent_since or now
            if isinstance(error, PERMANENT_ERRORS) or now - self._absent_since >= self._stall_timeout_s > 0:
                raise explained(error, self._connection) from error
            return
        self._absent_since = None
        self._positions = {place: at for place, at in found.items() if at is not None}
        if stalled := self._stalls.update(self._positions, ends, now=now):
            self.stats.stalls += 1
            self.stats.reconnects += 1
            names = ", ".join(f"{topic}/{partition}" for topic, partition in stalled)
            log.error("the Kafka client stopped reading %s; replacing it", names)
            self.open()
