"""A source in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.testing.crash_plan import CrashPlan


class MemorySource:
    """A log in arrival order, read at most ``max_records`` at a time."""

    def __init__(self, log: Sequence[Record], *, max_records: int = 500, crash: CrashPlan | None = None) -> None:
        self.log = log
        self.max_records = max_records
        self.committed: dict[TopicPartition, int] = {}
        self._crash = crash or CrashPlan()
        self._next = 0
        self._positions: Positions = {}

    def open(self, positions: Positions) -> None:
        """Start reading; what lies before the positions is skipped."""
        self._positions = dict(positions)
        self._next = 0

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - a list never makes a caller wait
        """The next records of the log."""
        with self._crash.effect("poll"):
            records: list[Record] = []
            while self._next < len(self.log) and len(records) < self.max_records:
                record = self.log[self._next]
                self._next += 1
                if self._is_new(record):
                    records.append(record)
        return records

    def commit(self, positions: Positions) -> None:
        """Keep the positions in ``committed``."""
        with self._crash.effect("source commit"):
            self.committed.update(positions)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records not yet polled per partition."""
        waiting: dict[TopicPartition, int] = defaultdict(int)
        for at, record in enumerate(self.log):
            waiting[TopicPartition(record.topic, record.partition)] += at >= self._next and self._is_new(record)
        return dict(waiting)

    @property
    def is_exhausted(self) -> bool:
        """True at the end of the log."""
        return self._next >= len(self.log)

    def close(self) -> None:
        """Nothing is held."""

    def _is_new(self, record: Record) -> bool:
        return record.offset >= self._positions.get(TopicPartition(record.topic, record.partition), 0)
