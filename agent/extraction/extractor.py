"""The loop of an extractor: poll, decode and compute features, publish, commit.

It keeps no state. Offsets are committed when the broker has acknowledged what was made of their records, so each record
is published at least once; the agent takes it once. Partition p of a topic goes to partition p (mod n) of the topic of
features, in order. After an error that waiting may cure, everything starts over from the committed offsets.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from driftgauge.agent.outlets.health import Health
from driftgauge.agent.service.backoff import Backoff
from driftgauge.connectors.base import ConnectorError, Message, Record, TopicPartition
from driftgauge.connectors.extract import DecodedRecord, RecordExtractor
from driftgauge.connectors.kafka.group import KafkaGroup
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.models.events import Arrival, Chunk, Rejected

log = logging.getLogger(__name__)

POLL_TIMEOUT_S = 0.5


@dataclass(slots=True)
class Work:
    """What an extractor has done since its start, and what it has before it.

    Attributes
    ----------
    counts : records published, with ``responses``, ``pieces`` and ``rejected`` among their events; batches ``refused``
        by the group, whose records others extract again
    bytes_read, bytes_published : values of raw records, and of what was published for them
    lag : records of its partitions that it has not read
    """

    counts: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    bytes_published: int = 0
    lag: dict[TopicPartition, int] = field(default_factory=dict)


class Extractor:
    """Works until it is stopped.

    Parameters
    ----------
    records : what is made of records
    topic : the topic of features
    open_group, open_sink : called again after every failure
    stopping : event that ends the work after the batch in hand
    patience_s : seconds to wait for a broker before its error is raised
    """

    def __init__(
        self,
        records: RecordExtractor,
        topic: str,
        open_group: Callable[[], KafkaGroup],
        open_sink: Callable[[], KafkaSink],
        stopping: threading.Event,
        *,
        patience_s: float = 600.0,
    ) -> None:
        self.work = Work()
        self.health = Health()
        self._records, self._topic = records, topic
        self._open_group, self._open_sink, self._stopping = open_group, open_sink, stopping
        self._backoff = Backoff(patience_s, stopping, [self.health])

    def run(self) -> None:
        """Extract until stopped."""
        while not self._stopping.is_set():
            try:
                self._serve()
            except ConnectorError as error:
                self._backoff.wait(error)

    def _serve(self) -> None:
        with closing(self._open_sink()) as sink, closing(self._open_group()) as group:
            n_partitions = sink.n_partitions(self._topic)
            group.open()
            assigned: set[TopicPartition] = set()
            while not self._stopping.is_set():
                records = group.poll(POLL_TIMEOUT_S)
                assigned = _told(assigned, group.assigned(), n_partitions)
                if records:
                    self._batch(records, n_partitions, sink, group)
                self.work.lag = dict(group.lag())
                self._backoff.reset()
                self.health.lag(self.work.lag)
                self.health.failure(None)

    def _batch(self, records: Sequence[Record], n_partitions: int, sink: KafkaSink, group: KafkaGroup) -> None:
        extracted = self._records.extract(records, self._topic, n_partitions)
        sink.publish([message for _, message in extracted])
        is_mine = group.commit({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})
        self._count(records, extracted, is_mine=is_mine)

    def _count(
        self, records: Sequence[Record], extracted: Sequence[tuple[DecodedRecord, Message]], *, is_mine: bool
    ) -> None:
        events = [event for decoded, _ in extracted for event in decoded.events]
        self.work.counts.update(
            records=len(records),
            responses=sum(isinstance(event, Arrival) for event in events),
            pieces=sum(isinstance(event, Chunk) for event in events),
            rejected=sum(isinstance(event, Rejected) for event in events),
            refused=int(not is_mine),
        )
        self.work.bytes_read += sum(len(record.value or b"") for record in records)
        self.work.bytes_published += sum(len(message.value) for _, message in extracted)


def _told(before: set[TopicPartition], now: set[TopicPartition], n_partitions: int) -> set[TopicPartition]:
    """Log which partitions came and went."""
    if now == before:
        return before
    log.info("extracts %s", ", ".join(f"{topic}/{partition}" for topic, partition in sorted(now)) or "nothing")
    if any(partition >= n_partitions for _, partition in now):
        log.warning(
            "the topic of features has only %d partitions: add none to it, because records would change their "
            "partition and their order would be lost", n_partitions,
        )  # fmt: skip
    return now
