"""Which records are new: those behind the stored positions, of their own topic and of the raw one.

A record that ``driftgauge extract`` made names its raw record. The positions of raw partitions are stored beside those
of the topics that are read. Extractors repeat work whenever partitions move between them, and each of them publishes
the records of a partition in order, from a place that was published before. So what is behind the position of the raw
partition is new, and everything else was applied already. Bounded by the number of partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.decoding.formats.extracted import Head


class Taken(NamedTuple):
    """The new ones among some records, the positions behind them all, and how many were published again."""

    records: list[Record]
    reached: dict[TopicPartition, int]
    n_repeated: int


def take(records: Sequence[Record], positions: Positions, head_of: Callable[[Record], Head | None]) -> Taken:
    """Sort out the records that these positions cover already.

    An extracted tombstone becomes one: a record without a value. ``head_of`` gives the raw record of a record.

    >>> head = Head("raw", 1, 7)
    >>> twice = [Record("features", 0, offset, None, b"...") for offset in (3, 4)]
    >>> taken = take(twice, {}, lambda record: head)
    >>> [record.offset for record in taken.records], taken.n_repeated, sorted(taken.reached.values())
    ([3], 1, [5, 8])
    """
    new, reached, n_repeated = list[Record](), dict[TopicPartition, int](), 0
    for record in records:
        place, head = TopicPartition(record.topic, record.partition), head_of(record)
        if record.offset < positions.get(place, 0):
            continue
        reached[place] = record.offset + 1
        if head is not None:
            if head.offset < reached.get(head.place, positions.get(head.place, 0)):
                n_repeated += 1
                continue
            reached[head.place] = head.offset + 1
        new.append(replace(record, value=None) if head is not None and head.is_tombstone else record)
    return Taken(new, reached, n_repeated)
