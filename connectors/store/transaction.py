"""One transaction on the database: a `Memory` for the pipeline that also takes positions and outputs.

Writes are collected in memory and run as one statement per table. A read runs the pending writes first, because it must
see them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    Result,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    not_,
    select,
    update,
)

from driftgauge.connectors.base import Message, Positions, Record, TopicPartition
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.store import retention, rows, schema
from driftgauge.connectors.store.columns import as_rows
from driftgauge.connectors.store.output_tables import output_from, output_table, output_values
from driftgauge.connectors.store.pending import HAS_RESPONSE, select_pending
from driftgauge.connectors.store.selections import domains, fingerprints, select_responses, select_state
from driftgauge.connectors.store.statements import Writes, insert_new, per_query
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label, Rejected
from driftgauge.models.memory import Unlabelled
from driftgauge.models.outputs import Acquisition, Estimate, LabelList, Output
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow

_T = TypeVar("_T")
_STALE_KEY = schema.stale_windows.primary_key
_FORGET_STALE = delete(schema.stale_windows).where(*(column == bindparam(column.name) for column in _STALE_KEY))
_MAX_NAMES = 200_000

_R, _L, _ALIASES = schema.responses.c, schema.labels.c, schema.aliases.c
_RESPONSE = [  # in the order of the fields
    {"domain": domains.c.name, "fingerprint": fingerprints.c.name}.get(name, schema.responses.c.get(name))
    for name in ResponseRow.__struct_fields__
]
_REMEMBERED = (  # in the order of `columns.Remembered`
    _R.seq,
    _R.id,
    domains.c.name,
    _R.event_time,
    _R.features,
    _R.p_correct,
    _R.correct,
    _R.weight,
    _R.slices,
)


class InternedNames:
    """A cache of the numbers of interned names; the table has them all. Bounded by `_MAX_NAMES`."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def clear(self) -> None:
        """Empty the cache."""
        self._numbers.clear()

    def numbers(self, connection: Connection, names: set[str]) -> dict[str, int]:
        """The number of each name; a name without one gets one."""
        new = sorted(names - self._numbers.keys())
        if new:
            if len(self._numbers) + len(new) > _MAX_NAMES:
                self.clear()
                new = sorted(names)
            self._load(connection, new)
            missing = [{"name": name} for name in new if name not in self._numbers]
            if missing:
                connection.execute(insert(schema.names), missing)
                self._load(connection, [name["name"] for name in missing])
        return self._numbers

    def _load(self, connection: Connection, names: list[str]) -> None:
        for part in per_query(names):
            found = select(schema.names.c.name, schema.names.c.seq).where(schema.names.c.name.in_(part))
            self._numbers.update((row.name, row.seq) for row in connection.execute(found))


class SqlTransaction:
    """A transaction of `SqlStore`; not to be used after its end."""

    def __init__(
        self,
        connection: Connection,
        writes: Writes,
        names: InternedNames,
        encode: Callable[[Output], Message],
        *,
        keep_audit: bool,
    ) -> None:
        self._connection = connection
        self._writes = writes
        self._names = names
        self._encode = encode
        self._keep_audit = keep_audit
        self._has_dead_letters = False

    # --- reads -----------------------------------------------------------------------------------------------

    def responses(self, ids: Collection[str]) -> dict[str, ResponseRow]:
        """Stored responses among these ids; unknown ids are absent."""
        found: dict[str, ResponseRow] = {}
        for part in per_query(ids):
            query = select_responses(*_RESPONSE).where(_R.id_hash.in_([schema.id_hash(key) for key in part]))
            stored = map(rows.response, self._read(query).all())
            found.update((row.id, row) for row in stored)
        wanted = set(ids)  # a hash may be shared
        return {key: row for key, row in found.items() if key in wanted}

    def labels(self, response_ids: Collection[str]) -> dict[str, list[Label]]:
        """Every label event stored for these responses, by response id."""
        found: dict[str, list[Label]] = defaultdict(list)
        for part in per_query(response_ids):
            query = select(schema.labels).where(_L.response_hash.in_([schema.id_hash(key) for key in part]))
            for row in self._read(query.order_by(_L.seq)):
                found[row.response_id].append(rows.label(row))
        wanted = set(response_ids)
        return {key: labels for key, labels in found.items() if key in wanted}

    def aliases(self, names: Collection[str]) -> dict[str, Alias]:
        """Stored aliases among these names; unknown names are absent."""
        found: dict[str, Alias] = {}
        for part in per_query(names):
            hashes = [schema.id_hash(name) for name in part]
            query = select(schema.aliases).where(schema.aliases.c.name_hash.in_(hashes))
            found.update((row.name, rows.alias(row)) for row in self._read(query))
        wanted = set(names)  # a hash may be shared
        return {name: alias for name, alias in found.items() if name in wanted}

    def labels_of_topic(self, topic: str, limit: int) -> list[Label]:
        """The ``limit`` label events of a topic that were stored last, the newest first."""
        newest = select(schema.labels).where(_L.topic == topic).order_by(_L.seq.desc()).limit(limit)
        return [rows.label(row) for row in self._read(newest)]

    def window(self, series: SeriesKey, start: float, end: float, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), with ``start <= event_time < end``."""
        place = {"of_domain": series.domain, "of_fingerprint": series.fingerprint, "start": start, "end": end}
        return as_rows(self._read(_WINDOW, {**place, "at_most": limit}).all()[::-1])

    def unlabelled(self, series: SeriesKey, start: float, end: float, limit: int, seed: int) -> Unlabelled:
        """Up to ``limit`` responses of a span that have no label which counts, after the place of the seed."""
        place = {"of_domain": series.domain, "of_fingerprint": series.fingerprint, "start": start, "end": end}
        n_responses, n_labelled = map(int, self._read(_COUNTS, place).one())
        after = {**place, "place": schema.id_hash(str(seed))}
        found = [*self._read(_UNLABELLED, {**after, "at_most": limit})] if limit else []
        if len(found) < min(limit, n_responses - n_labelled):
            found += self._read(_UNLABELLED_BEFORE, {**after, "at_most": limit - len(found)})
        return Unlabelled(n_responses, n_labelled, as_rows(found))

    def aliases_of(self, stored: Sequence[ResponseRow]) -> dict[str, list[str]]:
        """The aliases that name these stored responses alone, by response id; their times have an index."""
        found: dict[str, list[str]] = defaultdict(list)
        for part in per_query(stored):
            times, ids = {row.event_time for row in part}, {row.id for row in part}
            query = select(_ALIASES.name, _ALIASES.response_id).where(_ALIASES.event_time.in_(times))
            for row in self._read(query.order_by(_ALIASES.name)):
                if row.response_id in ids:
                    found[row.response_id].append(row.name)
        return dict(found)

    def label_lists(self, series: SeriesKey, limit: int) -> list[LabelList]:
        """The label lists of a series, the newest first."""
        table = output_table(LabelList)
        of_series = select(table).where(table.c.domain == series.domain, table.c.fingerprint == series.fingerprint)
        newest = of_series.order_by(table.c.period_end.desc()).limit(limit)
        return [output_from(LabelList, row) for row in self._read(newest)]

    def labelled(self, fingerprint: str, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), that have a resolved label."""
        return as_rows(self._read(newest_labelled(fingerprint, limit)).all()[::-1])

    def estimate(self, key: str) -> Estimate | None:
        """The highest revision of the estimate with this key."""
        return self._kept(Estimate, key)

    def accuracies(self, series: Collection[SeriesKey], window_end: float) -> dict[SeriesKey, float]:
        """The accuracy of these series over the window with this end; a series without an estimate of it is absent."""
        stored = self._read(_ACCURACIES, {"end": window_end})
        found: dict[SeriesKey, float] = {SeriesKey(row.domain, row.fingerprint): row.accuracy for row in stored}
        return {key: found[key] for key in series if key in found}

    def acquisition(self, key: str) -> Acquisition | None:
        """The highest revision of the data list with this key."""
        return self._kept(Acquisition, key)

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name, for every name that starts with ``prefix``."""
        return {row.name: row.value for row in self._read(select_state(prefix))}

    def retired_numbers(self) -> dict[str, int]:
        """The number of each retired state by its name, in the order of the numbers."""
        table = schema.retired
        in_order = select(table.c.name, table.c.number).order_by(table.c.number, table.c.name)
        return {row.name: row.number for row in self._read(in_order)}

    def retired(self, name: str) -> bytes | None:
        """The retired state with this name."""
        found: bytes | None = self._read(_RETIRED, {"of_name": name}).scalar()
        return found

    def positions(self) -> dict[TopicPartition, int]:
        """Stored positions."""
        found = self._read(select(schema.positions))
        return {TopicPartition(row.topic, row.partition): row.offset for row in found}

    # --- writes ----------------------------------------------------------------------------------------------

    def add_responses(self, new: Sequence[ResponseRow]) -> None:
        """Store new responses."""
        names = {row.domain for row in new} | {row.fingerprint for row in new}
        numbers = self._names.numbers(self._connection, names)
        for row in new:
            self._writes.add("responses", rows.response_values(row, numbers[row.domain], numbers[row.fingerprint]))

    def add_aliases(self, aliases: Sequence[Alias]) -> None:
        """Store aliases, each in the place of the stored one with its name."""
        for alias in aliases:
            self._writes.add("aliases", rows.alias_values(alias))

    def add_labels(self, labels: Sequence[Label], *, are_joined: bool = False) -> None:
        """Store label events; ``are_joined`` says that their responses are stored."""
        for label in labels:
            self._writes.add("labels", rows.label_values(label, is_pending=not are_joined))

    def remove_labels(self, labels: Sequence[Label]) -> None:
        """Remove stored label events."""
        for label in labels:
            of_response = and_(_L.response_hash == schema.id_hash(label.response_id), _L.label_id == label.label_id)
            is_label = and_(of_response, _L.response_id == label.response_id)
            self._read(delete(schema.labels).where(is_label))

    def resolve(self, changed: Sequence[ResponseRow]) -> None:
        """Store the resolved label of these already stored responses."""
        for row in changed:
            self._writes.add("resolve", rows.resolved_values(row))

    def mark_stale(self, windows: Sequence[StaleWindow]) -> int:
        """Store marks of windows that are not marked yet; returns how many."""
        marks = [rows.stale_values(window) for window in windows]
        statement = insert_new(schema.stale_windows, self._connection.dialect.name)
        if not marks:
            return 0
        return self._connection.execute(statement, marks, execution_options={"preserve_rowcount": True}).rowcount

    def take_stale(self, limit: int) -> list[StaleWindow]:
        """Remove and return the first marks in their order."""
        first = select(schema.stale_windows).order_by(*schema.STALE_ORDER).limit(limit)
        taken = [rows.stale_window(row) for row in self._connection.execute(first)]
        if taken:
            self._connection.execute(_FORGET_STALE, [rows.stale_values(window) for window in taken])
        return taken

    def save_state(self, state: Mapping[str, bytes | None]) -> None:
        """Replace the saved state under these names; None deletes the name."""
        for name, value in state.items():
            self._writes.add("state", {"name": name, "value": value})
            if value is None:
                self._writes.add("forget_state", {"forgotten": name})

    def save_retired(self, state: Mapping[str, tuple[int, bytes] | None]) -> None:
        """Replace the retired state under these names; None deletes the name."""
        for name, saved in state.items():
            number, value = saved or (0, None)
            self._writes.add("retired", {"name": name, "number": number, "value": value})
            if value is None:
                self._writes.add("forget_retired", {"forgotten": name})

    def save_positions(self, positions: Positions) -> None:
        """Replace the positions of these partitions."""
        for (topic, partition), offset in positions.items():
            self._writes.add("positions", {"topic": topic, "partition": partition, "offset": offset})

    def store_topic_ids(self, topic_ids: Mapping[str, str]) -> list[str]:
        """Store the ids of topics; forget the positions in those that had another id, and return these topics."""
        known = {row.name: row.id for row in self._read(select(schema.topics))}
        others = [name for name, topic_id in topic_ids.items() if known.get(name, topic_id) != topic_id]
        self._connection.execute(delete(schema.positions).where(schema.positions.c.topic.in_(others)))
        for name, topic_id in topic_ids.items():
            self._writes.add("topics", {"name": name, "id": topic_id})
        return others

    def audit(self, records: Sequence[Record]) -> None:
        """Store the positions of the records applied in this transaction, if the store keeps an audit."""
        if self._keep_audit:
            for record in records:
                place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                self._writes.add("applied", place)

    def emit(self, outputs: Sequence[Output]) -> None:
        """Store the outputs that have a table, and put those that have a topic in the outbox, in order."""
        for output in outputs:
            kind = OUTPUT_KINDS[type(output)]
            prepared = kind.prepare(output)
            if kind.table:
                self._writes.add(kind.table, output_values(prepared))
            self._has_dead_letters |= isinstance(output, Rejected)
            message = self._encode(prepared)
            if message.topic:
                self._writes.add("outbox", rows.message_values(message))

    def oldest_pending(self) -> float | None:
        """The lowest event time of the labels whose response is not stored; None when there are none."""
        found: float | None = self._read(select_pending(_L.event_time).order_by(_L.event_time).limit(1)).scalar()
        return found

    def expire_labels(self, older_than: float, limit: int) -> list[Label]:
        """Remove and return label events older than this whose response never came, oldest first.

        A label is examined once, when it reaches this age. If its response is stored, the label stays and is no longer
        pending; otherwise it is deleted.
        """
        self._writes.flush(self._connection)
        old_enough = and_(_L.is_pending, _L.event_time < older_than)
        self._connection.execute(update(schema.labels).where(old_enough, HAS_RESPONSE).values(is_pending=False))
        oldest = select(schema.labels).where(old_enough).order_by(_L.event_time, _L.label_id).limit(limit)
        expired = self._connection.execute(oldest).all()
        for part in per_query([row.seq for row in expired]):
            self._connection.execute(delete(schema.labels).where(_L.seq.in_(part)))
        return [rows.label(row) for row in expired]

    def write_all(self, max_dead_letters: int, max_dead_letter_bytes: int) -> None:
        """Write every pending row and delete the dead letters beyond the bounds; the commit follows."""
        self._writes.flush(self._connection)
        if self._has_dead_letters:
            retention.trim_dead_letters(self._connection, max_dead_letters, max_dead_letter_bytes)

    def _kept(self, record: type[_T], key: str) -> _T | None:
        found = self._read(_KEPT[record], {"of_key": key}).first()
        return None if found is None else output_from(record, found)

    def _read(self, query: Executable, values: Mapping[str, Any] | None = None) -> Result[Any]:
        self._writes.flush(self._connection)
        return self._connection.execute(query, values or {})


def _newest(condition: ColumnElement[bool], limit: int | BindParameter[int]) -> Select[*tuple[Any, ...]]:
    """The columns that `columns.as_rows` takes, of the newest responses, newest first."""
    return select_responses(*_REMEMBERED).where(condition).order_by(_R.event_time.desc(), _R.id.desc()).limit(limit)


def newest_labelled(fingerprint: str, limit: int) -> Select[*tuple[Any, ...]]:
    """The columns that `columns.as_rows` takes, of the newest responses with a resolved label, newest first."""
    return _newest(and_(_R.fingerprint == schema.number_of(fingerprint), _R.correct.is_not(None)), limit)


# queries of every batch: to build one takes longer than to run it
_IN_SPAN = and_(
    _R.domain == schema.number_of(bindparam("of_domain")),
    _R.fingerprint == schema.number_of(bindparam("of_fingerprint")),
    _R.event_time >= bindparam("start"),
    _R.event_time < bindparam("end"),
)
_WINDOW = _newest(_IN_SPAN, bindparam("at_most"))
_COUNTS_IN_ESTIMATES = and_(_R.correct.is_not(None), _R.weight > 0)
_COUNTS = select(func.count(), func.count(case((_COUNTS_IN_ESTIMATES, 1)))).where(_IN_SPAN)
_IN_CIRCLE = select_responses(*_REMEMBERED).where(_IN_SPAN, not_(_COUNTS_IN_ESTIMATES)).order_by(_R.id_hash, _R.id)
_UNLABELLED, _UNLABELLED_BEFORE = (
    _IN_CIRCLE.where(is_there).limit(bindparam("at_most"))
    for is_there in (_R.id_hash >= bindparam("place"), _R.id_hash < bindparam("place"))
)
_RETIRED = select(schema.retired.c.value).where(schema.retired.c.name == bindparam("of_name"))
_E = output_table(Estimate).c
_ACCURACIES = select(_E.domain, _E.fingerprint, _E.accuracy).where(
    _E.window_end == bindparam("end"), _E.accuracy.is_not(None)
)
_KEPT: Mapping[type[Any], Executable] = {
    record: select(table).where(table.c.key == bindparam("of_key"))
    for record in (Estimate, Acquisition)
    for table in [output_table(record)]
}
