"""The records of topics between two offsets or times, as a source that ends: for replays into a new store.

Partitions are merged by the records' timestamps, so that a label comes after the response that it belongs to, as it
did live. Each partition has its own source, which bounds the records held in memory to one poll of each partition.
(One client that pauses some of its partitions may never resume them.) No group offsets are committed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from driftgauge.connectors.base import ConnectorError, Positions, Record, TopicPartition
from driftgauge.connectors.kafka.source import KafkaSource

Bound: TypeAlias = float | Positions | None
"""A time in UTC seconds; or offsets by partition, other partitions unbounded; None: unbounded."""

OpenSource: TypeAlias = Callable[[Collection[TopicPartition] | None], KafkaSource]


@dataclass
class _Partition:
    """One partition, read up to ``end``; ``buffer`` holds records that were polled and not yet merged."""

    place: TopicPartition
    source: KafkaSource
    end: int
    buffer: deque[Record] = field(default_factory=deque)

    @property
    def has_more(self) -> bool:
        """Whether records before the end remain to be polled."""
        return self.source.positions()[self.place] < self.end

    def fetch(self, timeout_s: float) -> None:
        records = self.source.poll(timeout_s)
        self.buffer.extend(record for record in records if record.offset < self.end)


class KafkaHistory:
    """Records from ``begin`` (inclusive) to ``end`` (exclusive); implements `driftgauge.connectors.base.Source`.

    Parameters
    ----------
    open_source : makes a source of these partitions; None: of all partitions
    begin : where to start; positions passed to `open` take precedence, so that an interrupted replay continues
    end : where to stop; None: at the end offsets that the topics have when the history is opened
    max_records : bound of one `poll`
    """

    def __init__(
        self, open_source: OpenSource, begin: Bound = None, end: Bound = None, *, max_records: int = 500
    ) -> None:
        self._open_source = open_source
        self._begin, self._end = begin, end
        self._max_records = max_records
        self._partitions: list[_Partition] = []

    def open(self, positions: Positions) -> None:
        """Find begin and end of each partition, and start reading at the begin.

        Raises
        ------
        ConnectorError
            When a bound has the offset of a partition that is not read.
        """
        with closing(self._open_source(None)) as finder:
            finder.open({})
            ends = finder.end_offsets()
            begin = {**finder.positions(), **_offsets(finder, self._begin, ends), **positions}
            end = {**ends, **_offsets(finder, self._end, ends)}
        for place in ends:
            partition = _Partition(place, self._open_source([place]), min(end[place], ends[place]))
            self._partitions.append(partition)
            partition.source.open({place: begin[place]})

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Return the next records by time; none while a partition that may hold older ones has not answered."""
        for partition in self._unanswered():
            partition.fetch(timeout_s)
        return [] if self._unanswered() else self._merged()

    def commit(self, positions: Positions) -> None:
        """Do nothing: a replay has no consumer group."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records between the position and the end."""
        return {p.place: max(0, p.end - p.source.positions()[p.place]) + len(p.buffer) for p in self._partitions}

    @property
    def is_exhausted(self) -> bool:
        """Whether every record before the end was polled."""
        return not any(partition.buffer or partition.has_more for partition in self._partitions)

    def close(self) -> None:
        """Release everything; safe to call twice."""
        for partition in self._partitions:
            partition.source.close()
        self._partitions = []

    def _unanswered(self) -> list[_Partition]:
        """Partitions whose buffer is empty although records remain."""
        return [partition for partition in self._partitions if not partition.buffer and partition.has_more]

    def _merged(self) -> list[Record]:
        """Take the oldest buffered records, until one partition has none buffered."""
        heads = [(p.buffer[0].timestamp, n) for n, p in enumerate(self._partitions) if p.buffer]
        heapq.heapify(heads)
        records: list[Record] = []
        while heads and len(records) < self._max_records:
            _, n = heapq.heappop(heads)
            partition = self._partitions[n]
            records.append(partition.buffer.popleft())
            if partition.buffer:
                heapq.heappush(heads, (partition.buffer[0].timestamp, n))
            elif partition.has_more:
                break
        return records


def _offsets(finder: KafkaSource, bound: Bound, known: Collection[TopicPartition]) -> Positions:
    """The offsets of a bound; an error where it names a partition that is not read."""
    if bound is None:
        return {}
    if not isinstance(bound, Mapping):
        return finder.offsets_at(bound)
    if unknown := sorted(bound.keys() - known):
        there = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(known))
        named = ", ".join(f"{topic}/{partition}" for topic, partition in unknown)
        raise ConnectorError(f"no partition {named} is read; there are {there}", retriable=False)
    return bound
