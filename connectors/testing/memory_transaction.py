"""A transaction on a store in memory: each change notes how to undo it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace

from driftgauge.connectors.base import Message, Positions, Record, TopicPartition
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS, OutputKind, stored_kinds
from driftgauge.connectors.store.columns import Remembered, as_bytes, as_rows, as_text
from driftgauge.connectors.store.schema import id_hash
from driftgauge.connectors.testing.crash_plan import CrashPlan
from driftgauge.connectors.testing.tables import Tables
from driftgauge.models.acquire.label_lists import counts
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label
from driftgauge.models.memory import Unlabelled
from driftgauge.models.outputs import Acquisition, Estimate, LabelList, Output, estimate_key
from driftgauge.models.pending import Names, PendingLabels, explained
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow

_K = TypeVar("_K")
_V = TypeVar("_V")


class MemoryTransaction:
    """A transaction of `MemoryStore`; not to be used after its end."""

    def __init__(
        self, tables: Tables, encode: Callable[[Output, int], Message], crash: CrashPlan, *, keep_audit: bool
    ) -> None:
        self._tables = tables
        self._encode = encode
        self._crash = crash
        self._keep_audit = keep_audit
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    # --- reads -----------------------------------------------------------------------------------------------

    def responses(self, ids: Collection[str]) -> dict[str, ResponseRow]:
        """Stored responses among these ids; unknown ids are absent."""
        return {key: self._tables.responses[key] for key in ids if key in self._tables.responses}

    def labels(self, response_ids: Collection[str]) -> dict[str, list[Label]]:
        """Every label event stored for these responses, by response id."""
        return {key: list(self._tables.labels[key]) for key in response_ids if key in self._tables.labels}

    def aliases(self, names: Collection[str]) -> dict[str, Alias]:
        """Stored aliases among these names; unknown names are absent."""
        return {name: self._tables.aliases[name] for name in names if name in self._tables.aliases}

    def labels_of_topic(self, topic: str, limit: int) -> list[Label]:
        """The ``limit`` label events of a topic that were stored last, the newest first."""
        numbers = self._tables.label_numbers
        found = [label for labels in self._tables.labels.values() for label in labels if label.topic == topic]
        return nlargest(limit, found, key=lambda label: numbers[label.response_id, label.label_id])

    def window(self, series: SeriesKey, start: float, end: float, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), with ``start <= event_time < end``."""
        rows = self._tables.windows.get(series, {})
        return _last((row for row in rows.values() if start <= row.event_time < end), limit)

    def unlabelled(self, series: SeriesKey, start: float, end: float, limit: int, seed: int) -> Unlabelled:
        """Up to ``limit`` responses of a span that have no label which counts, after the place of the seed."""
        rows = [row for row in self._tables.windows.get(series, {}).values() if start <= row.event_time < end]
        place, without = id_hash(str(seed)), [row for row in rows if not counts(row)]
        without.sort(key=lambda row: (id_hash(row.id) < place, id_hash(row.id), row.id))
        return Unlabelled(len(rows), len(rows) - len(without), as_rows([_remembered(row) for row in without[:limit]]))

    def aliases_of(self, rows: Sequence[ResponseRow]) -> dict[str, list[str]]:
        """The aliases that name these stored responses alone, by response id."""
        found: dict[str, list[str]] = {}
        times = {row.id: row.event_time for row in rows}
        for name, alias in sorted(self._tables.aliases.items()):
            if alias.response_id in times and alias.event_time in times.values():
                found.setdefault(alias.response_id, []).append(name)
        return found

    def label_lists(self, series: SeriesKey, limit: int) -> list[LabelList]:
        """The label lists of a series, the newest first."""
        lists: dict[str, LabelList] = self._tables.outputs["label_lists"]
        of_series = (made for made in lists.values() if made.series == series)
        return nlargest(limit, of_series, key=lambda made: made.period_end)

    def labelled(self, fingerprint: str, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), that have a resolved label."""
        return _last(self._tables.labelled.get(fingerprint, {}).values(), limit)

    def estimate(self, key: str) -> Estimate | None:
        """The highest revision of the estimate with this key."""
        estimates: dict[str, Estimate] = self._tables.outputs["estimates"]
        return estimates.get(key)

    def accuracies(self, series: Collection[SeriesKey], window_end: float) -> dict[SeriesKey, float]:
        """The accuracy of these series over the window with this end; a series without an estimate of it is absent."""
        estimates: dict[str, Estimate] = self._tables.outputs["estimates"]
        found = ((key, estimates.get(estimate_key(key, window_end))) for key in series)
        return {key: estimate.accuracy for key, estimate in found if estimate and estimate.accuracy is not None}

    def acquisition(self, key: str) -> Acquisition | None:
        """The highest revision of the data list with this key."""
        lists: dict[str, Acquisition] = self._tables.outputs["acquisitions"]
        return lists.get(key)

    def pending_labels(self) -> PendingLabels:
        """How many labels wait for their response, since when, and the likeliest causes."""
        pending, aliases = list(self._pending()), self._tables.aliases.values()
        known = Names(
            [*self._tables.responses, *(alias.name for alias in aliases if alias.response_id is not None)],
            {alias.name for alias in aliases if alias.response_id is None},
        )
        return explained(len(pending), self.oldest_pending(), [label.response_id for label in pending], known)

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name, for every name that starts with ``prefix``."""
        return {name: value for name, value in self._tables.state.items() if name.startswith(prefix)}

    def retired_numbers(self) -> dict[str, int]:
        """The number of each retired state by its name, in the order of the numbers."""
        numbers = {name: number for name, (number, _) in self._tables.retired.items()}
        return dict(sorted(numbers.items(), key=lambda item: (item[1], item[0])))

    def retired(self, name: str) -> bytes | None:
        """The retired state with this name."""
        return self._tables.retired[name][1] if name in self._tables.retired else None

    def positions(self) -> dict[TopicPartition, int]:
        """Stored positions."""
        return dict(self._tables.positions)

    # --- writes ----------------------------------------------------------------------------------------------

    def add_responses(self, rows: Sequence[ResponseRow]) -> None:
        """Store new responses."""
        with self._crash.effect("add responses"):
            for row in rows:
                self._put(replace(row, features=np.array(row.features, dtype=np.float32), slices=dict(row.slices)))

    def add_aliases(self, aliases: Sequence[Alias]) -> None:
        """Store aliases, each in the place of the stored one with its name."""
        with self._crash.effect("add aliases"):
            for alias in aliases:
                self._set(self._tables.aliases, alias.name, alias)

    def add_labels(self, labels: Sequence[Label], *, are_joined: bool = False) -> None:  # noqa: ARG002 - not needed here
        """Store label events."""
        with self._crash.effect("add labels"):
            for label in labels:
                known = self._tables.labels.get(label.response_id, ())
                self._set(self._tables.labels, label.response_id, (*known, label))
                self._set(self._tables.label_numbers, (label.response_id, label.label_id), self._count("labels"))

    def remove_labels(self, labels: Sequence[Label]) -> None:
        """Remove stored label events."""
        with self._crash.effect("remove labels"):
            for label in labels:
                self._remove_label(label)

    def resolve(self, rows: Sequence[ResponseRow]) -> None:
        """Store the resolved label of these already stored responses."""
        with self._crash.effect("resolve"):
            for row in rows:
                stored = self._tables.responses[row.id]
                self._put(replace(stored, correct=row.correct, weight=row.weight, label_kind=row.label_kind))

    def mark_stale(self, windows: Sequence[StaleWindow]) -> int:
        """Store marks of windows that are not marked yet; returns how many."""
        with self._crash.effect("mark stale"):
            new = [window for window in windows if (window.series, window.end) not in self._tables.stale]
            for window in new:
                self._set(self._tables.stale, (window.series, window.end), window)
        return len(new)

    def take_stale(self, limit: int) -> list[StaleWindow]:
        """Remove and return the first marks in their order."""
        with self._crash.effect("take stale"):
            taken = nsmallest(limit, self._tables.stale.values())
            for window in taken:
                self._delete(self._tables.stale, (window.series, window.end))
        return taken

    def save_state(self, state: Mapping[str, bytes | None]) -> None:
        """Replace the saved state under these names; None deletes the name."""
        with self._crash.effect("save state"):
            self._replace(self._tables.state, state)

    def save_retired(self, state: Mapping[str, tuple[int, bytes] | None]) -> None:
        """Replace the retired state under these names; None deletes the name."""
        if state:
            with self._crash.effect("save retired"):
                self._replace(self._tables.retired, state)

    def save_positions(self, positions: Positions) -> None:
        """Replace the positions of these partitions."""
        with self._crash.effect("save positions"):
            for partition, offset in positions.items():
                self._set(self._tables.positions, partition, offset)

    def store_topic_ids(self, topic_ids: Mapping[str, str]) -> list[str]:
        """Store the ids of topics; forget the positions in those that had another id, and return these topics."""
        known = self._tables.topic_ids
        others = [name for name, topic_id in topic_ids.items() if known.get(name, topic_id) != topic_id]
        for partition in [place for place in self._tables.positions if place.topic in others]:
            self._delete(self._tables.positions, partition)
        for name, topic_id in topic_ids.items():
            self._set(self._tables.topic_ids, name, topic_id)
        return others

    def audit(self, records: Sequence[Record]) -> None:
        """Store the positions of the records applied in this transaction, if the store keeps an audit."""
        if self._keep_audit:
            for record in records:
                place = (record.topic, record.partition, record.offset)
                self._set(self._tables.applied, len(self._tables.applied), place)

    def emit(self, outputs: Sequence[Output]) -> None:
        """Store the outputs that have a table, and put those that have a topic in the outbox, in order."""
        with self._crash.effect("emit"):
            for output in outputs:
                kind = OUTPUT_KINDS[type(output)]
                prepared = kind.prepare(output)
                if kind.table:
                    self._keep(kind, prepared)
                message = self._encode(prepared, self._tables.counters.get("outbox", 0) + 1)
                if message.topic:
                    self._set(self._tables.outbox, self._count("outbox"), message)

    def oldest_pending(self) -> float | None:
        """The lowest event time of the labels whose response is not stored; None when there are none."""
        return min((label.event_time for label in self._pending()), default=None)

    def expire_labels(self, older_than: float, limit: int) -> list[Label]:
        """Remove and return label events older than this whose response never came, oldest first."""
        with self._crash.effect("expire labels"):
            old_enough = (label for label in self._pending() if label.event_time < older_than)
            expired = sorted(old_enough, key=lambda label: (label.event_time, label.label_id))[:limit]
            for label in expired:
                self._remove_label(label)
        return expired

    def expire(self, older_than: float, max_rows: int) -> int:
        """Delete old responses with their labels, and old outputs."""
        with self._crash.effect("expire"):
            old = (row for row in self._tables.responses.values() if row.event_time < older_than)
            expired = sorted(old, key=lambda row: (row.event_time, row.seq))[:max_rows]
            for row in expired:
                self._delete(self._tables.responses, row.id)
                self._delete(self._tables.windows[row.series], row.id)
                self._delete(self._tables.labelled[row.fingerprint], row.id)
                for label in self._tables.labels.get(row.id, ()):
                    self._remove_label(label)
            horizon = older_than if len(expired) < max_rows else expired[-1].event_time
            for name in [name for name, alias in self._tables.aliases.items() if alias.event_time < horizon]:
                self._delete(self._tables.aliases, name)
            self._expire_outputs(older_than, max_rows)
        return len(expired)

    def trim_dead_letters(self, max_number: int) -> None:
        """Keep the newest dead letters, and count the others."""
        table = self._tables.outputs["dead_letters"]
        for number in sorted(table)[: max(0, len(table) - max_number)]:
            self._delete(table, number)
            self._count("dead_letters_dropped")

    def roll_back(self) -> None:
        """Undo every change, the last one first."""
        for table, key, old in reversed(self._undo):
            if old is _ABSENT:
                table.pop(key, None)
            else:
                table[key] = old
        self._undo.clear()

    def _put(self, row: ResponseRow) -> None:
        """Put a response into every table that holds responses."""
        self._set(self._tables.responses, row.id, row)
        self._set(self._tables.windows[row.series], row.id, row)
        if math.isnan(row.correct):
            self._delete(self._tables.labelled[row.fingerprint], row.id)
        else:
            self._set(self._tables.labelled[row.fingerprint], row.id, row)

    def _pending(self) -> Iterator[Label]:
        pending = (labels for key, labels in self._tables.labels.items() if key not in self._tables.responses)
        return (label for labels in pending for label in labels)

    def _remove_label(self, label: Label) -> None:
        self._delete(self._tables.label_numbers, (label.response_id, label.label_id))
        known = self._tables.labels.get(label.response_id, ())
        left = tuple(other for other in known if other.label_id != label.label_id)
        if left:
            self._set(self._tables.labels, label.response_id, left)
        else:
            self._delete(self._tables.labels, label.response_id)

    def _keep(self, kind: OutputKind[Any], output: Any) -> None:
        table = self._tables.outputs[kind.table]
        key = output.key if kind.is_keyed else self._count(kind.table)
        newest = kind.newest_by
        if newest is None or key not in table or getattr(output, newest) >= getattr(table[key], newest):
            self._set(table, key, output)

    def _expire_outputs(self, older_than: float, max_rows: int) -> None:
        for kind in stored_kinds():
            if kind.event_time:
                ages = {key: getattr(row, kind.event_time) for key, row in self._tables.outputs[kind.table].items()}
                old = sorted((key for key, age in ages.items() if age < older_than), key=lambda key: ages[key])
                for key in old[:max_rows]:
                    self._delete(self._tables.outputs[kind.table], key)

    def _count(self, name: str) -> int:
        number = self._tables.counters.get(name, 0) + 1
        self._set(self._tables.counters, name, number)
        return number

    def _replace(self, table: dict[str, _V], values: Mapping[str, _V | None]) -> None:
        for name, value in values.items():
            if value is None:
                self._delete(table, name)
            else:
                self._set(table, name, value)

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
        row.seq, row.id, row.domain, row.event_time, as_bytes(row.features), row.p_correct, row.correct, row.weight,
        as_text(row.slices),
    )  # fmt: skip
