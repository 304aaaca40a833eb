"""A store in memory. Only its dead letters are bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nlargest
from typing import TypeVar

from driftgauge.connectors.base import FencedError, Message
from driftgauge.connectors.publishing.encode import Topics, addressed, encode
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.testing.crash_plan import CrashPlan
from driftgauge.connectors.testing.memory_transaction import MemoryTransaction
from driftgauge.connectors.testing.tables import Tables
from driftgauge.models.outputs import Output
from driftgauge.models.pending import PendingLabels

R = TypeVar("R")


class MemoryStore:
    """A `Store` in memory. A second one on the same ``tables`` takes over, and the first then raises `FencedError`."""

    def __init__(
        self,
        tables: Tables | None = None,
        *,
        topics: Topics | None = None,
        source: str = "driftgauge",
        keep_audit: bool = False,
        max_dead_letters: int = 10_000,
        crash: CrashPlan | None = None,
    ) -> None:
        self.tables = Tables() if tables is None else tables
        self.tables.epoch += 1
        self._epoch = self.tables.epoch
        self._topics = topics or Topics()
        self._source = source
        self._keep_audit = keep_audit
        self._max_dead_letters = max_dead_letters
        self._crash = crash or CrashPlan()
        self._lock = threading.RLock()

    @property
    def epoch(self) -> int:
        """Grows with every `MemoryStore` made on the same tables."""
        return self._epoch

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """Commit on a clean exit, roll back on any exception."""
        with self._lock:
            transaction = MemoryTransaction(self.tables, self._encode, self._crash, keep_audit=self._keep_audit)
            try:
                with self._crash.effect("begin"):
                    self._check_epoch()
                yield transaction
                transaction.trim_dead_letters(self._max_dead_letters)
                self._crash.reach("before commit")
            except BaseException:
                transaction.roll_back()
                raise
            self._crash.reach("after commit")

    def outbox(self, limit: int) -> list[Message]:
        """The oldest committed messages not yet acknowledged, each for the topic that the settings name today."""
        return [addressed(self.tables.outbox[seq], self._topics) for seq in sorted(self.tables.outbox)[:limit]]

    def acknowledge(self, up_to_seq: int) -> None:
        """Remove the messages of the outbox up to and including this one."""
        with self._crash.effect("acknowledge"), self._lock:
            for seq in [seq for seq in self.tables.outbox if seq <= up_to_seq]:
                del self.tables.outbox[seq]

    def newest(self, record: type[R], limit: int) -> list[R]:
        """The newest stored outputs of one kind, by the type of its record, newest first."""
        kind = OUTPUT_KINDS[record]
        rows = self.tables.outputs[kind.table]
        age = kind.event_time
        newest = nlargest(limit, rows, key=lambda key: (getattr(rows[key], age), key) if age else key)
        return [rows[key] for key in newest]

    def pending_labels(self) -> PendingLabels:
        """How many labels wait for their response, since when, and the likeliest causes."""
        with self.transaction() as transaction:
            return transaction.pending_labels()

    def dropped_dead_letters(self) -> int:
        """How many dead letters made room for newer ones."""
        return self.tables.counters.get("dead_letters_dropped", 0)

    def expire(self, older_than: float, max_rows: int) -> int:
        """Delete the oldest responses with an event time before this, up to ``max_rows``, with their labels."""
        with self.transaction() as transaction:
            return transaction.expire(older_than, max_rows)

    def expire_days(self, older_than: float) -> None:
        """Do nothing: this store keeps no sums of days."""

    def audit(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every applied record, in order, with ``keep_audit``."""
        return list(self.tables.applied.values())

    def close(self) -> None:
        """Nothing is held."""

    def _check_epoch(self) -> None:
        if self.tables.epoch != self._epoch:
            raise FencedError(f"another agent took over (epoch {self.tables.epoch}, here {self._epoch})")

    def _encode(self, output: Output, seq: int) -> Message:
        return encode(output, self._topics, self._source, self._epoch, seq)
