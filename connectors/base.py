"""The interfaces of connectors: sources, sinks and the store.

An adapter is finished when it passes the contract suite of its interface.

A position is the offset of the *next* record to read. The agent resumes from the positions in the store; offsets that a
source commits to its broker only serve lag displays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct

from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Output
from driftgauge.models.pending import PendingLabels

R = TypeVar("R")


class TopicPartition(NamedTuple):
    """One partition of one topic; for files, the topic is the path and the partition 0."""

    topic: str
    partition: int


Positions = Mapping[TopicPartition, int]


class Record(Struct, frozen=True):
    """The unchanged bytes of one record, and its place in a topic.

    Attributes
    ----------
    value : None for a tombstone
    timestamp : UTC seconds
    problem : why the source could not read the value, for people; empty if it could
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of the outbox: bytes to publish. ``seq`` grows over the life of the store.

    Without a ``partition`` the key decides it.
    """

    seq: int
    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None

    @property
    def n_bytes(self) -> int:
        """Size of its key, value and headers."""
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


class ConnectorError(Exception):
    """A connector cannot continue; the text is for people and contains no secrets.

    ``retriable`` is whether a later attempt may succeed.
    """

    def __init__(self, text: str, *, retriable: bool) -> None:
        super().__init__(text)
        self.retriable = retriable


class RefusedValueError(ConnectorError):
    """The store refused a value, such as a character that its database cannot hold: a record is at fault."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class WrongSettingError(ConnectorError):
    """A setting cannot be used, and no later attempt helps: a command ends with the exit code of wrong settings."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class FencedError(ConnectorError):
    """Another agent has taken over this store: this agent must stop without writing."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class Source(Protocol):
    """Reads records. Within a partition records come in offset order; the source reports every gap."""

    def open(self, positions: Positions) -> None:
        """Start reading every partition at its position; partitions without one start at the earliest record."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Return some records, or none after ``timeout_s``. The source bounds their number and their bytes."""
        ...

    def commit(self, positions: Positions) -> None:
        """Commit group offsets, for lag displays only. Raises no error while the broker is unavailable."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return the number of records not yet polled, per partition."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """Whether no further record will ever come: True at the end of a file, never for a broker's topic."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


class Sink(Protocol):
    """Publishes messages."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when all are acknowledged; raise `ConnectorError` otherwise (some may then have been published)."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


class Transaction(Memory, Protocol):
    """A `Memory` that also stores positions and outputs, in the same transaction as the rows."""

    def positions(self) -> dict[TopicPartition, int]:
        """Return the stored positions."""
        ...

    def save_positions(self, positions: Positions) -> None:
        """Replace the positions of these partitions."""
        ...

    def store_topic_ids(self, topic_ids: Mapping[str, str]) -> list[str]:
        """Store the ids of topics, by name, and return the topics that had another id when they were last read.

        The stored positions in these are forgotten: other records are at the same offsets now.
        """
        ...

    def audit(self, records: Sequence[Record]) -> None:
        """Store which records were applied; only a store that was opened with an audit keeps this."""
        ...

    def emit(self, outputs: Sequence[Output]) -> None:
        """Store the outputs as rows (for SQL queries) and append each to the outbox, in order."""
        ...


class Store(Protocol):
    """Everything the agent remembers, with transactions."""

    @property
    def epoch(self) -> int:
        """The owner epoch of this agent: grows with each opening for writing, and is a header of every output."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit on a clean exit, roll back on any exception. Raises `FencedError` once another agent took over."""
        ...

    def outbox(self, limit: int) -> list[Message]:
        """Return the oldest committed messages that are not yet acknowledged."""
        ...

    def acknowledge(self, up_to_seq: int) -> None:
        """Remove the messages up to and including this one from the outbox: they were published."""
        ...

    def newest(self, record: type[R], limit: int) -> list[R]:
        """Return the newest stored outputs of one kind, given the type of its record, newest first."""
        ...

    def pending_labels(self) -> PendingLabels:
        """How many labels wait for their response, since when, and the likeliest causes."""
        ...

    def expire(self, older_than: float, max_rows: int) -> int:
        """Aggregate and delete responses older than this event time, oldest first, with their dependent rows.

        Deletes up to ``max_rows`` responses in one short transaction and returns their number: call it again while it
        returns ``max_rows``.
        """
        ...

    def expire_days(self, older_than: float) -> None:
        """Delete the sums of days that ended before this event time; it works once for each day."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...
