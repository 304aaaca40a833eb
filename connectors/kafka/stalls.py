"""Detects partitions that do not advance although they have records to read.

The Kafka client may stop fetching a partition without raising an error. Deterministic: time is passed in.
"""

from __future__ import annotations

from driftgauge.connectors.base import Positions, TopicPartition


class StallDetector:
    """Remembers how long each partition has had records to read without moving.

    Parameters
    ----------
    timeout_s : seconds after which a partition counts as stalled; 0: never

    Examples
    --------
    >>> place, detector = TopicPartition("t", 0), StallDetector(60.0)
    >>> [detector.update({place: 5}, {place: 9}, now=now) for now in (0.0, 59.0, 60.0)]
    [[], [], [TopicPartition(topic='t', partition=0)]]
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._waiting: dict[TopicPartition, tuple[int, float]] = {}

    def update(self, positions: Positions, ends: Positions, *, now: float) -> list[TopicPartition]:
        """Return the partitions that have not moved for ``timeout_s`` although their end is ahead.

        Parameters
        ----------
        positions, ends : next offset to read and end offset of each partition
        now : seconds of a clock that never goes back
        """
        behind = {tp: at for tp, at in positions.items() if at < ends[tp]}
        known = self._waiting
        self._waiting = {
            tp: known[tp] if tp in known and known[tp][0] == at else (at, now) for tp, at in behind.items()
        }
        if not self._timeout_s:
            return []
        return [tp for tp, (_, since) in self._waiting.items() if now - since >= self._timeout_s]

    def reset(self) -> None:
        """Forget everything: a new client was made."""
        self._waiting.clear()
