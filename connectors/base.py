"""What every connector promises: sources, sinks and the store.

An adapter is finished when the contract suite of its port passes on it.

A position is the offset of the *next* record to read. The store holds the positions that count; the ones a
source commits to its broker serve other people's lag displays only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Output

R = TypeVar("R")


class TopicPartition(NamedTuple):
    """One partition of one topic; for files, the topic is the path and the partition 0."""

    topic: str
    partition: int


Positions = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes as they came, with where they came from. ``value`` None is a tombstone; ``timestamp`` is UTC seconds.

    ``problem`` says why a source could not hand out a value at all; it is for people.
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
    """One row of the outbox: bytes to publish. ``seq`` grows over the life of the store."""

    seq: int
    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class ConnectorError(Exception):
    """A connector cannot go on; the text is for people, without secrets.

    ``retriable`` says whether waiting may help.
    """

    def __init__(self, text: str, *, retriable: bool) -> None:
        super().__init__(text)
        self.retriable = retriable


class FencedError(ConnectorError):
    """Another agent took this store over: this one must stop without writing."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class Source(Protocol):
    """Where records come from. Within one partition records come in offset order, without gaps it does not report."""

    def open(self, positions: Positions) -> None:
        """Start reading every partition at its position; partitions without one start at the earliest record."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Some records, or none after ``timeout_s``. Bounded in count and bytes by the source's own settings."""
        ...

    def commit(self, positions: Positions) -> None:
        """Tell the outside how far we are (displays only). Never raises for a broker that is away."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records not yet polled per partition, by our own count."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """True when nothing will ever come again (files); a broker's topic never is."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


class Sink(Protocol):
    """Where messages go."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when all are acknowledged; raise `ConnectorError` otherwise (some may then have been published)."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


class Transaction(Memory, Protocol):
    """A `Memory` that also takes what leaves: positions and outputs, in the same transaction as the rows."""

    def positions(self) -> dict[TopicPartition, int]:
        """Stored positions."""
        ...

    def save_positions(self, positions: Positions) -> None:
        """Replace the positions of these partitions."""
        ...

    def audit(self, records: Sequence[Record]) -> None:
        """Note that these records were applied; kept only by a store that was opened to keep an audit."""
        ...

    def emit(self, outputs: Sequence[Output]) -> None:
        """Keep the outputs as rows (queryable) and put each in the outbox, in order."""
        ...


class Store(Protocol):
    """Everything the agent remembers, in one transactional place."""

    @property
    def epoch(self) -> int:
        """The owner epoch of this agent: bumped at each opening for writing, carried in every output's headers."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit on a clean exit, roll back on any exception. Raises `FencedError` once another agent took over."""
        ...

    def outbox(self, limit: int) -> list[Message]:
        """The oldest committed messages not yet acknowledged."""
        ...

    def acknowledge(self, up_to_seq: int) -> None:
        """Forget the outbox up to and including this message: it has been published."""
        ...

    def newest(self, record: type[R], limit: int) -> list[R]:
        """The newest stored outputs of one kind, by the type of its record, newest first."""
        ...

    def expire(self, older_than: float, max_rows: int) -> int:
        """Aggregate and delete responses older than this event time, oldest first, and what hangs on them.

        Up to ``max_rows`` in one short transaction; returns how many, so call again while it returns ``max_rows``.
        """
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...
