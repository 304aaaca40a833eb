"""Source, sink and store in memory: for tests, and for using the pipeline as a library.

The store is transactional like the real ones: each change notes how to undo it. Every effect (a poll, a
transaction, each write, a publication …) passes a `CrashPlan`, which can end the run just before or just after it.
Nothing is bounded here but the dead letters: it is all as large as what it was given.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import Any, TypeVar

import numpy as np

from driftgauge.connectors.base import FencedError, Message, Positions, Record, TopicPartition
from driftgauge.connectors.publishing.encode import Topics, encode, with_bytes
from driftgauge.connectors.store.columns import Remembered, as_bytes, as_rows
from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.series import SeriesKey

_K = TypeVar("_K")
_V = TypeVar("_V")


class Crash(BaseException):
    """The process ended here. Not an `Exception`: nothing but the test may survive it."""


class CrashPlan:
    """Counts the points at which a process can die, and dies at one of them.

    Examples
    --------
    >>> def work(plan):
    ...     with plan.effect("write"):
    ...         pass
    >>> survey = CrashPlan()
    >>> work(survey)
    >>> survey.points
    ['before write', 'after write']
    >>> try:
    ...     work(CrashPlan(at=1))
    ... except Crash as crash:
    ...     print(crash)
    after write
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.points: list[str] = []

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        """Something that the outside world can see."""
        self._pass(f"before {name}")
        yield
        self._pass(f"after {name}")

    def _pass(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) - 1 == self.at:
            raise Crash(point)


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

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - a list never makes anyone wait
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
        """Remember what would be shown."""
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


class MemorySink:
    """Everything that was published, in order, duplicates included."""

    def __init__(self, *, crash: CrashPlan | None = None) -> None:
        self.messages: list[Message] = []
        self._crash = crash or CrashPlan()

    def publish(self, messages: Sequence[Message]) -> None:
        """Append one by one."""
        for message in messages:
            with self._crash.effect("publish"):
                self.messages.append(message)

    def close(self) -> None:
        """Nothing is held."""


class NoSink:
    """Publishes nothing: for looking back, which is nobody else's business."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Forget them; they stay in the store."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Tables:
    """What survives a crash of the process: give it to the next `MemoryStore`."""

    epoch: int = 0
    responses: dict[str, ResponseRow] = field(default_factory=dict)
    windows: dict[SeriesKey, dict[str, ResponseRow]] = field(default_factory=lambda: defaultdict(dict))
    labelled: dict[str, dict[str, ResponseRow]] = field(default_factory=lambda: defaultdict(dict))
    labels: dict[str, tuple[Label, ...]] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    acquisitions: dict[str, Acquisition] = field(default_factory=dict)
    dead_letters: dict[int, Rejected] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    outbox: dict[int, Message] = field(default_factory=dict)
    applied: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


class MemoryStore:
    """A `Store` in memory. A second one on the same ``tables`` takes over; the first is then fenced off."""

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
        """Bumped by every `MemoryStore` made on the same tables."""
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
                self._crash._pass("before commit")
            except BaseException:
                transaction.roll_back()
                raise
            self._crash._pass("after commit")

    def outbox(self, limit: int) -> list[Message]:
        """The oldest committed messages not yet acknowledged."""
        return [self.tables.outbox[seq] for seq in sorted(self.tables.outbox)[:limit]]

    def acknowledge(self, up_to_seq: int) -> None:
        """Forget the outbox up to and including this message."""
        with self._crash.effect("acknowledge"), self._lock:
            for seq in [seq for seq in self.tables.outbox if seq <= up_to_seq]:
                del self.tables.outbox[seq]

    def dead_letters(self, limit: int) -> list[Rejected]:
        """The newest dead letters, newest first."""
        newest = nlargest(limit, self.tables.dead_letters)
        return [self.tables.dead_letters[number] for number in newest]

    def dropped_dead_letters(self) -> int:
        """How many dead letters made room for newer ones."""
        return self.tables.counters.get("dead_letters_dropped", 0)

    def expire(self, older_than: float, max_rows: int) -> int:
        """Delete the oldest responses with an event time before this, up to ``max_rows``, with their labels."""
        with self.transaction() as transaction:
            return transaction.expire(older_than, max_rows)

    def audit(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every applied record, in order, with ``keep_audit``."""
        return list(self.tables.applied.values())

    def close(self) -> None:
        """Nothing is held."""

    def _check_epoch(self) -> None:
        if self.tables.epoch != self._epoch:
            raise FencedError(f"another agent took over (epoch {self.tables.epoch}, ours {self._epoch})")

    def _encode(self, output: Output, seq: int) -> Message:
        return encode(output, self._topics, self._source, self._epoch, seq)


class MemoryTransaction:
    """What `MemoryStore.transaction` gives; not to be used after it ended."""

    def __init__(
        self, tables: Tables, encode: Callable[[Output, int], Message], crash: CrashPlan, *, keep_audit: bool
    ) -> None:
        self._tables = tables
        self._encode = encode
        self._crash = crash
        self._keep_audit = keep_audit
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    # --- what was remembered ---------------------------------------------------------------------------------

    def responses(self, ids: Collection[str]) -> dict[str, ResponseRow]:
        """Stored responses among these ids; unknown ids are absent."""
        return {key: self._tables.responses[key] for key in ids if key in self._tables.responses}

    def labels(self, response_ids: Collection[str]) -> dict[str, list[Label]]:
        """Every label event stored for these responses, by response id."""
        return {key: list(self._tables.labels[key]) for key in response_ids if key in self._tables.labels}

    def window(self, series: SeriesKey, start: float, end: float, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), with ``start <= event_time < end``."""
        rows = self._tables.windows.get(series, {})
        return _last((row for row in rows.values() if start <= row.event_time < end), limit)

    def labelled(self, fingerprint: str, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), that have a resolved label."""
        return _last(self._tables.labelled.get(fingerprint, {}).values(), limit)

    def estimate(self, key: str) -> Estimate | None:
        """The highest revision of the estimate with this key."""
        return self._tables.estimates.get(key)

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name, for every name that starts with ``prefix``."""
        return {name: value for name, value in self._tables.state.items() if name.startswith(prefix)}

    def positions(self) -> dict[TopicPartition, int]:
        """Stored positions."""
        return dict(self._tables.positions)

    # --- what is to be remembered ----------------------------------------------------------------------------

    def add_responses(self, rows: Sequence[ResponseRow]) -> None:
        """Remember new responses."""
        with self._crash.effect("add responses"):
            for row in rows:
                self._put(replace(row, features=np.array(row.features, dtype=np.float32), slices=dict(row.slices)))

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Remember label events."""
        with self._crash.effect("add labels"):
            for label in labels:
                known = self._tables.labels.get(label.response_id, ())
                self._set(self._tables.labels, label.response_id, (*known, label))

    def resolve(self, rows: Sequence[ResponseRow]) -> None:
        """Store the resolved label of these already stored responses."""
        with self._crash.effect("resolve"):
            for row in rows:
                stored = self._tables.responses[row.id]
                self._put(replace(stored, correct=row.correct, weight=row.weight, label_kind=row.label_kind))

    def save_state(self, state: Mapping[str, bytes | None]) -> None:
        """Replace the saved state under these names; None deletes the name."""
        with self._crash.effect("save state"):
            for name, value in state.items():
                if value is None:
                    self._delete(self._tables.state, name)
                else:
                    self._set(self._tables.state, name, value)

    def save_positions(self, positions: Positions) -> None:
        """Replace the positions of these partitions."""
        with self._crash.effect("save positions"):
            for partition, offset in positions.items():
                self._set(self._tables.positions, partition, offset)

    def audit(self, records: Sequence[Record]) -> None:
        """Keep the positions of the records applied in this transaction, where the store was asked to."""
        if self._keep_audit:
            for record in records:
                place = (record.topic, record.partition, record.offset)
                self._set(self._tables.applied, len(self._tables.applied), place)

    def emit(self, outputs: Sequence[Output]) -> None:
        """Keep the outputs as rows and put each that has a topic in the outbox, in order."""
        with self._crash.effect("emit"):
            for output in map(with_bytes, outputs):
                self._keep(output)
                message = self._encode(output, self._tables.counters.get("outbox", 0) + 1)
                if message.topic:
                    self._set(self._tables.outbox, self._count("outbox"), message)

    def expire_labels(self, older_than: float, limit: int) -> list[Label]:
        """Remove and return label events older than this whose response never came, oldest first."""
        with self._crash.effect("expire labels"):
            pending = (labels for key, labels in self._tables.labels.items() if key not in self._tables.responses)
            of_age = (label for labels in pending for label in labels if label.event_time < older_than)
            expired = sorted(of_age, key=lambda label: (label.event_time, label.label_id))[:limit]
            for label in expired:
                left = tuple(other for other in self._tables.labels[label.response_id] if other is not label)
                if left:
                    self._set(self._tables.labels, label.response_id, left)
                else:
                    self._delete(self._tables.labels, label.response_id)
        return expired

    def expire(self, older_than: float, max_rows: int) -> int:
        """Delete old responses with their labels, and old outputs."""
        with self._crash.effect("expire"):
            old = (row for row in self._tables.responses.values() if row.event_time < older_than)
            going = sorted(old, key=lambda row: (row.event_time, row.seq))[:max_rows]
            for row in going:
                self._delete(self._tables.responses, row.id)
                self._delete(self._tables.windows[row.series], row.id)
                self._delete(self._tables.labelled[row.fingerprint], row.id)
                self._delete(self._tables.labels, row.id)
            self._expire_outputs(older_than, max_rows)
        return len(going)

    def trim_dead_letters(self, max_number: int) -> None:
        """Keep the newest, and count the others."""
        for number in sorted(self._tables.dead_letters)[: max(0, len(self._tables.dead_letters) - max_number)]:
            self._delete(self._tables.dead_letters, number)
            self._count("dead_letters_dropped")

    def roll_back(self) -> None:
        """Take everything back, the last change first."""
        for table, key, old in reversed(self._undo):
            if old is _ABSENT:
                table.pop(key, None)
            else:
                table[key] = old
        self._undo.clear()

    def _put(self, row: ResponseRow) -> None:
        """A response, wherever it is looked for."""
        self._set(self._tables.responses, row.id, row)
        self._set(self._tables.windows[row.series], row.id, row)
        if math.isnan(row.correct):
            self._delete(self._tables.labelled[row.fingerprint], row.id)
        else:
            self._set(self._tables.labelled[row.fingerprint], row.id, row)

    def _keep(self, output: Output) -> None:
        tables = self._tables
        match output:
            case Estimate():
                self._keep_newest(tables.estimates, output.key, output)
            case Acquisition():
                self._keep_newest(tables.acquisitions, output.key, output)
            case Alert():
                self._set(tables.alerts, output.key, output)
            case Rejected():
                self._set(tables.dead_letters, self._count("dead_letters"), output)
            case _:  # predictions are the responses' own rows
                pass

    def _keep_newest(self, table: dict[str, _V], key: str, new: _V) -> None:
        stored: Any = table.get(key)
        if stored is None or getattr(new, "revision", 0) >= stored.revision:
            self._set(table, key, new)

    def _expire_outputs(self, older_than: float, max_rows: int) -> None:
        ages: list[tuple[dict[str, Any], str]] = [
            (self._tables.estimates, "window_end"),
            (self._tables.alerts, "event_time"),
            (self._tables.acquisitions, "event_time"),
        ]
        for table, age in ages:
            old = [key for key, output in table.items() if getattr(output, age) < older_than]
            for key in sorted(old, key=lambda key: getattr(table[key], age))[:max_rows]:
                self._delete(table, key)

    def _count(self, name: str) -> int:
        number = self._tables.counters.get(name, 0) + 1
        self._set(self._tables.counters, name, number)
        return number

    def _set(self, table: dict[_K, _V], key: _K, value: _V) -> None:
        self._undo.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def _delete(self, table: dict[_K, _V], key: _K) -> None:
        if key in table:
            self._undo.append((table, key, table.pop(key)))


_ABSENT = object()


def _last(rows: Iterable[ResponseRow], limit: int) -> Rows:
    newest = nlargest(limit, rows, key=lambda row: (row.event_time, row.id))
    return as_rows([_remembered(row) for row in reversed(newest)])


def _remembered(row: ResponseRow) -> Remembered:
    return Remembered(
        row.seq, row.id, row.domain, row.event_time, as_bytes(row.features), row.p_correct, row.correct, row.weight
    )
