"""The store: everything the agent remembers, in SQLite or PostgreSQL, through SQLAlchemy Core.

One transaction holds a batch's rows, classifier state, source positions and outbox, so a process killed anywhere leaves
a batch that is stored whole or not at all. One agent writes: a lock refuses a second one at its start, and an epoch,
checked inside every transaction, rejects a late write of an agent that was taken over. A count of transactions, checked
with it, rejects a write to a database that has lost some of them: the agent knows more than it. Dead letters are
bounded in number and bytes, responses and outputs by `SqlStore.expire`, the pending writes of a transaction by the
batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, delete, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from driftgauge.connectors.base import ConnectorError, FencedError, Message
from driftgauge.connectors.publishing.encode import Topics, addressed, encode
from driftgauge.connectors.store import retention, rows, schema
from driftgauge.connectors.store.database import (
    Synchronous,
    is_read_only_server,
    parse,
    shown,
    translated,
    writer_engine,
)
from driftgauge.connectors.store.migrations import migrate
from driftgauge.connectors.store.output_tables import newest_outputs, output_from
from driftgauge.connectors.store.ownership import FileIdentity, claim
from driftgauge.connectors.store.pending import pending_labels
from driftgauge.connectors.store.statements import Writes, compile_writes, upsert
from driftgauge.connectors.store.transaction import InternedNames, SqlTransaction
from driftgauge.models.outputs import Output
from driftgauge.models.pending import PendingLabels

R = TypeVar("R")


def open_store(
    url: str,
    *,
    topics: Topics,
    source: str = "driftgauge",
    synchronous: Synchronous = "normal",
    keep_audit: bool = False,
    takeover: bool = False,
    max_dead_letters: int = 10_000,
    max_dead_letter_bytes: int = 256 * 2**20,
) -> SqlStore:
    """Open a store for writing; create it or bring its schema up to date first.

    Parameters
    ----------
    url : ``sqlite:///file.db``, or ``postgresql://user@host/database`` with the extra ``postgres``
    synchronous : SQLite only. ``normal`` survives any kill of the process, ``full`` also the loss of power
    keep_audit : keep the position of every record that was applied; for tests, because it grows without end
    takeover : use the store although another agent holds it; the other one is refused from then on
    max_dead_letters, max_dead_letter_bytes : the newest dead letters are kept, up to both bounds

    Raises
    ------
    ConnectorError
        Another agent holds the store, it is newer than this code, or the database cannot be reached or written.
    """
    parsed = parse(url)
    with translated(shown(parsed)):
        engine = writer_engine(parsed, synchronous)
        return SqlStore(
            engine,
            topics=topics,
            source=source,
            keep_audit=keep_audit,
            takeover=takeover,
            dead_letter_bounds=(max_dead_letters, max_dead_letter_bytes),
        )


class SqlStore:
    """A store in a relational database; made by `open_store`.

    Calls from several threads wait for each other. After a lost connection the next call connects again.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        topics: Topics,
        source: str,
        keep_audit: bool,
        takeover: bool,
        dead_letter_bounds: tuple[int, int],
    ) -> None:
        self._engine = engine
        self._name = shown(engine.url)
        self._topics = topics
        self._source = source
        self._keep_audit = keep_audit
        self._dead_letter_bounds = dead_letter_bounds
        self._statements = compile_writes(engine.dialect)
        self._names = InternedNames()
        self._lock = threading.RLock()
        self._acknowledged = self._deleted = 0
        self._days_expired = -1
        self._is_closed = False
        with ExitStack() as undo:
            self._connection = undo.enter_context(engine.connect())
            self._file = FileIdentity(engine.url)
            self._ownership = claim(self._connection, takeover=takeover)
            undo.callback(self._ownership.release)
            with self._connection.begin():
                migrate(self._connection)
                self._epoch = _next_epoch(self._connection)
                self._n_committed = _marks(self._connection).get(_COMMITTED, 0)
            undo.pop_all()

    @property
    def epoch(self) -> int:
        """Grows at each opening; never below the clock, so that a restored backup does not repeat old epochs."""
        return self._epoch

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Commit on a clean exit, roll back on any exception.

        Raises
        ------
        FencedError
            Another agent took the store over.
        ConnectorError
            The database failed, or is no longer the one that was opened; nothing of this transaction happened.
        """
        with self._lock:
            number = self._n_committed + 1
            with self._connected() as connection:
                writes = Writes(self._statements)
                writes.add("meta", {"name": _COMMITTED, "value": number})
                transaction = SqlTransaction(connection, writes, self._names, self._encode, keep_audit=self._keep_audit)
                yield transaction
                transaction.write_all(*self._dead_letter_bounds)
            self._n_committed = number

    def outbox(self, limit: int) -> list[Message]:
        """The oldest committed messages not yet acknowledged, each for the topic that the settings name today."""
        table = schema.outbox
        waiting = select(table).where(table.c.seq > self._acknowledged).order_by(table.c.seq).limit(limit)
        with self._connected() as connection:
            return [addressed(rows.message(row), self._topics) for row in connection.execute(waiting)]

    def acknowledge(self, up_to_seq: int) -> None:
        """Remove the messages of the outbox up to and including this one.

        The next transaction, or `close`, deletes the rows: a separate commit would double the cost of a batch.
        """
        self._acknowledged = max(self._acknowledged, up_to_seq)

    def newest(self, record: type[R], limit: int) -> list[R]:
        """The newest stored outputs of one kind, by the type of its record, newest first."""
        with self._connected() as connection:
            return [output_from(record, row) for row in connection.execute(newest_outputs(record, limit))]

    def pending_labels(self) -> PendingLabels:
        """How many labels wait for their response, since when, and the likeliest causes."""
        with self._connected() as connection:
            return pending_labels(connection)

    def dropped_dead_letters(self) -> int:
        """How many dead letters made room for newer ones, over the life of the store."""
        with self._connected() as connection:
            return retention.dropped_dead_letters(connection)

    def expire(self, older_than: float, max_rows: int) -> int:
        """Aggregate and delete the oldest responses with an event time before this, up to ``max_rows`` of them.

        Their labels are deleted with them, and up to ``max_rows`` older outputs of each kind. Returns how many
        responses were deleted: call again while it returns ``max_rows``. It is one short transaction. A SQLite file
        returns free pages to the disk.
        """
        with self._connected() as connection:
            n = retention.expire(connection, older_than, max_rows)
        with self._lock, translated(self._name):
            retention.shrink(self._connection)
        return n

    def expire_days(self, older_than: float) -> None:
        """Delete the sums of days that ended before this event time; it works once for each day."""
        day = retention.day_of(older_than)
        if day > self._days_expired:
            with self._connected() as connection:
                retention.expire_days(connection, day)
            self._days_expired = day

    def audit(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every applied record, in order, with ``keep_audit``."""
        table = schema.applied
        with self._connected() as connection:
            found = connection.execute(select(table.c.topic, table.c.partition, table.c.offset).order_by(table.c.seq))
            return [(row[0], row[1], row[2]) for row in found]

    def close(self) -> None:
        """Release everything; safe to call twice."""
        with self._lock:
            if self._is_closed:
                return
            with suppress(ConnectorError), self._connected():
                pass  # deletes the acknowledged messages
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._ownership.release()
            self._is_closed = True

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._lock, translated(self._name):
            acknowledged = self._acknowledged
            try:
                with self._begin():
                    if acknowledged > self._deleted:
                        self._connection.execute(delete(schema.outbox).where(schema.outbox.c.seq <= acknowledged))
                    yield self._connection
            except BaseException:
                self._names.clear()  # some may be from the transaction that was rolled back
                raise
            self._deleted = max(acknowledged, self._deleted)

    def _begin(self) -> RootTransaction:
        """A transaction on the store that was opened; a lost connection is opened again."""
        if self._is_closed:
            raise ConnectorError(f"store {self._name} is closed", retriable=False)
        self._file.check()
        try:
            if not (self._connection.closed or self._connection.invalidated):
                return self._begin_checked()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        self._reconnect()
        return self._begin_checked()

    def _begin_checked(self) -> RootTransaction:
        transaction = self._connection.begin()
        try:
            self._check_marks()
        except BaseException as error:
            with suppress(SQLAlchemyError):
                transaction.rollback()
                if is_read_only_server(error):  # after a failover: a new connection may lead to the new primary
                    self._connection.close()
            raise
        return transaction

    def _reconnect(self) -> None:
        """Connect again and claim the store.

        While the epoch is unchanged no other agent took over, so the lock is still held by the lost connection only.
        """
        self._connection.close()
        self._connection = self._engine.connect()
        with self._connection.begin():
            self._check_marks()
        self._ownership.release()
        self._ownership = claim(self._connection, takeover=True)

    def _check_marks(self) -> None:
        marks = _marks(self._connection)
        if (stored := marks.get(_EPOCH)) != self._epoch:
            raise FencedError(
                f"store {self._name}: another agent took over (epoch {stored}, here {self._epoch}); this one must stop"
            )
        if (n_lost := self._n_committed - marks.get(_COMMITTED, 0)) > 0:
            text = (
                f"store {self._name}: the database has lost transactions of this agent (the newest {n_lost}), as after "
                "a failover or a restore; start the agent again, and it goes on from what the database has"
            )
            raise ConnectorError(text, retriable=False)

    def _encode(self, output: Output) -> Message:
        return encode(output, self._topics, self._source, self._epoch)


_EPOCH, _COMMITTED = "epoch", "transactions"
_M = schema.meta.c
_MARKS = select(_M.name, _M.value).where(_M.name.in_((_EPOCH, _COMMITTED))).with_for_update()


def _marks(connection: Connection) -> dict[str, int]:
    """The epoch of the owner and the number of its transactions, locked until the end of this one."""
    return {row.name: row.value for row in connection.execute(_MARKS)}


def _next_epoch(connection: Connection) -> int:
    previous = _marks(connection).get(_EPOCH, 0)
    epoch = max(previous + 1, time.time_ns() // 1_000_000)
    connection.execute(upsert(schema.meta, connection.dialect.name), {"name": _EPOCH, "value": epoch})
    return epoch
