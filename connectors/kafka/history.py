"""What topics held between two places, as a source that ends: for looking back, and for filling a new store.

Partitions are merged by the records' timestamps, so that a label comes after what was published before it, as it did
when it happened. Each partition has a source of its own, which bounds what is held of it to one poll: a client that
rests some of its partitions for a while may never wake them. No group offsets are touched.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.kafka.source import KafkaSource

Bound: TypeAlias = float | Positions | None
"""A time in UTC seconds; or offsets by partition, all others unbounded; or nothing: as far as there is."""

OpenSource: TypeAlias = Callable[[Collection[TopicPartition] | None], KafkaSource]


@dataclass
class _Partition:
    """One partition on its way to its end."""

    place: TopicPartition
    source: KafkaSource
    end: int
    waiting: deque[Record] = field(default_factory=deque)

    @property
    def has_more(self) -> bool:
        """Whether the end was not reached yet, whatever is at hand."""
        return self.source.reached()[self.place] < self.end

    def fetch(self, timeout_s: float) -> None:
        records = self.source.poll(timeout_s)
        self.waiting.extend(record for record in records if record.offset < self.end)


class KafkaHistory:
    """Records from ``begin`` on and before ``end``; implements `driftgauge.connectors.base.Source`.

    Without an end it ends where the topics ended when it was opened. Positions given to `open` win over ``begin``: a
    replay that was interrupted goes on. ``open_source`` makes a source of some partitions, or of all.
    """

    def __init__(
        self, open_source: OpenSource, begin: Bound = None, end: Bound = None, *, max_records: int = 500
    ) -> None:
        self._open_source = open_source
        self._begin, self._end = begin, end
        self._max_records = max_records
        self._partitions: list[_Partition] = []

    def open(self, positions: Positions) -> None:
        """Find the places, and go to the first of each partition."""
        with closing(self._open_source(None)) as finder:
            finder.open({})
            ends = finder.ends()
            begin = {**finder.reached(), **_offsets(finder, self._begin), **positions}
            end = {**ends, **_offsets(finder, self._end)}
        for place in ends:
            partition = _Partition(place, self._open_source([place]), min(end[place], ends[place]))
            self._partitions.append(partition)
            partition.source.open({place: begin[place]})

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """The next records by time; none as long as a partition that may hold older ones has not answered."""
        for partition in self._starving():
            partition.fetch(timeout_s)
        return [] if self._starving() else self._merged()

    def commit(self, positions: Positions) -> None:
        """Nobody watches."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records between here and the end."""
        return {p.place: max(0, p.end - p.source.reached()[p.place]) + len(p.waiting) for p in self._partitions}

    @property
    def is_exhausted(self) -> bool:
        """Whether everything before the end was handed out."""
        return not any(partition.waiting or partition.has_more for partition in self._partitions)

    def close(self) -> None:
        """Release everything; safe to call twice."""
        for partition in self._partitions:
            partition.source.close()
        self._partitions = []

    def _starving(self) -> list[_Partition]:
        """Partitions of which nothing is at hand although there is more."""
        return [partition for partition in self._partitions if not partition.waiting and partition.has_more]

    def _merged(self) -> list[Record]:
        """The oldest records at hand, until one partition has no more of them."""
        heads = [(p.waiting[0].timestamp, n) for n, p in enumerate(self._partitions) if p.waiting]
        heapq.heapify(heads)
        records: list[Record] = []
        while heads and len(records) < self._max_records:
            _, n = heapq.heappop(heads)
            partition = self._partitions[n]
            records.append(partition.waiting.popleft())
            if partition.waiting:
                heapq.heappush(heads, (partition.waiting[0].timestamp, n))
            elif partition.has_more:
                break
        return records


def _offsets(finder: KafkaSource, bound: Bound) -> Positions:
    if bound is None:
        return {}
    return bound if isinstance(bound, Mapping) else finder.offsets_at(bound)
