"""The writes of a transaction, as SQL that is compiled once per database.

The driver runs them as plain ``executemany``: building 500 rows through the expression layer of SQLAlchemy would cost
as much as storing them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Insert, Table, bindparam, delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from driftgauge.connectors.batches import batched
from driftgauge.connectors.publishing.kinds import OutputKind, stored_kinds
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import output_table
from driftgauge.connectors.store.rows import Values

T = TypeVar("T")

_PER_QUERY = 500
"""Values that one query names at most; databases bound the parameters of a statement."""

Statements: TypeAlias = dict[str, tuple[str, Callable[[Values], tuple[Any, ...]] | None]]
"""Name -> SQL, and how to order the values for its parameters; None: the parameters have names."""


class Writes:
    """Rows to be written, by statement.

    Statements run in the order of `compile_writes`, so that rows are inserted before they are updated. The rows of one
    statement run in the order they were added, so that the last one wins. The number of rows is bounded by the batch.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._pending: dict[str, list[Values]] = {name: [] for name in statements}

    def add(self, name: str, values: Values) -> None:
        """Add a row to be written by this statement."""
        self._pending[name].append(values)

    def flush(self, connection: Connection) -> None:
        """Write every pending row."""
        for name, rows in self._pending.items():
            if rows:
                sql, pick = self._statements[name]
                connection.exec_driver_sql(sql, rows if pick is None else [pick(row) for row in rows])
                self._pending[name] = []


def compile_writes(dialect: Dialect) -> Statements:
    """The statements by name, in the order in which they run."""
    name = dialect.name
    statements: dict[str, UpdateBase] = {
        "responses": insert(schema.responses),
        "labels": _append(schema.labels),
        "aliases": upsert(schema.aliases, name),
        "resolve": update(schema.responses)
        .where(schema.responses.c.seq == bindparam("of_seq"))
        .values(correct=bindparam("to_correct"), weight=bindparam("to_weight"), label_kind=bindparam("to_kind")),
        **{kind.table: _keep(kind, name) for kind in stored_kinds()},
        "outbox": _append(schema.outbox),
        "state": upsert(schema.state, name),
        "forget_state": _forget(schema.state),
        "retired": upsert(schema.retired, name),
        "forget_retired": _forget(schema.retired),
        "positions": upsert(schema.positions, name),
        "topics": upsert(schema.topics, name),
        "applied": _append(schema.applied),
        "meta": upsert(schema.meta, name),
    }
    return {key: _compiled(statement, dialect) for key, statement in statements.items()}


def per_query(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in pieces small enough for one query."""
    return batched(values, _PER_QUERY)


def insert_new(table: Table, dialect_name: str) -> Insert:
    """Insert, or leave the row with the same primary key as it is."""
    make = sqlite.insert if dialect_name == "sqlite" else postgresql.insert
    return make(table).on_conflict_do_nothing()


def upsert(table: Table, dialect_name: str, *, newest_by: str | None = None, adding: bool = False) -> UpdateBase:
    """Insert, or replace the row with the same primary key.

    ``newest_by``: replace only if this column is not lower than the stored one. ``adding``: add to the stored numbers.
    """
    make = sqlite.insert if dialect_name == "sqlite" else postgresql.insert
    statement = make(table)
    key = [column.name for column in table.primary_key]
    changed: dict[str, ColumnElement[Any]] = {
        column.name: table.c[column.name] + statement.excluded[column.name]
        if adding
        else statement.excluded[column.name]
        for column in table.columns
        if column.name not in key
    }
    where = None if newest_by is None else statement.excluded[newest_by] >= table.c[newest_by]
    return statement.on_conflict_do_update(index_elements=key, set_=changed, where=where)


def _keep(kind: OutputKind[Any], dialect_name: str) -> UpdateBase:
    """Store an output in the table of its kind."""
    table = output_table(kind.record)
    return upsert(table, dialect_name, newest_by=kind.newest_by) if kind.is_keyed else _append(table)


def _forget(table: Table) -> UpdateBase:
    """Delete a name whose value is NULL: it was written so in the same transaction, and not written again since."""
    return delete(table).where(table.c.name == bindparam("forgotten"), table.c.value.is_(None))


def _append(table: Table) -> UpdateBase:
    """Insert all columns but ``seq``, which the database assigns."""
    return insert(table).values(
        {column.name: bindparam(column.name) for column in table.columns if column.name != "seq"}
    )


def _compiled(statement: UpdateBase, dialect: Dialect) -> tuple[str, Callable[[Values], tuple[Any, ...]] | None]:
    compiled = statement.compile(dialect=dialect)
    places = getattr(compiled, "positiontup", None)
    if places is None:
        return str(compiled), None
    if len(places) == 1:
        return str(compiled), lambda values: (values[places[0]],)
    return str(compiled), itemgetter(*places)
