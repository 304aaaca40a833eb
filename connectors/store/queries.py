"""Queries on a store, for reports and other processes, while the agent runs: nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, and_, case, func, select, true

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store import migrations, retention, rows, schema
from driftgauge.connectors.store.columns import as_rows
from driftgauge.connectors.store.database import parse, reader_engine, shown, translated
from driftgauge.connectors.store.latest import select_latest
from driftgauge.connectors.store.output_tables import newest_outputs, output_from, output_table
from driftgauge.connectors.store.pending import pending_labels
from driftgauge.connectors.store.quality import select_predicted, select_rejected, select_reliability
from driftgauge.connectors.store.selections import IS_LIVE, IS_NEWEST_STATE, select_state
from driftgauge.connectors.store.statements import per_query
from driftgauge.connectors.store.transaction import newest_labelled
from driftgauge.models.classify.reliability import ReliabilityBin, reliability_bin
from driftgauge.models.events import Label
from driftgauge.models.labels import SourceCounts
from driftgauge.models.outputs import Acquisition, Alert, Estimate, LabelList, SliceEstimates, WeakSegments
from driftgauge.models.pending import PendingLabels
from driftgauge.models.rows import Rows
from driftgauge.models.series import SeriesKey

R = TypeVar("R")

_ESTIMATES, _ALERTS, _LISTS = output_table(Estimate), output_table(Alert), output_table(LabelList)
_SLICES, _WEAK = output_table(SliceEstimates), output_table(WeakSegments)
_E, _A, _R, _L, _D = _ESTIMATES.c, _ALERTS.c, schema.responses.c, schema.labels.c, schema.daily.c

MAX_SOURCES = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """Responses and labels of one domain."""

    n_events: int
    n_labels: int


def open_queries(url: str) -> StoreQueries:
    """Open a store for reading only; any number of processes may, beside the one writer.

    Raises
    ------
    ConnectorError
        There is no store, it cannot be read, or its schema version is not that of this code.
    """
    parsed = parse(url)
    queries = StoreQueries(reader_engine(parsed), shown(parsed))
    queries.check()
    return queries


class StoreQueries:
    """Queries on a store; made by `open_queries`. Each sees the last committed state."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def check(self) -> None:
        """Raise an error unless this is a store of this schema version."""
        with self._connected() as connection:
            found = migrations.schema_version(connection)
        if found is None:
            raise ConnectorError(f"{self._name} is not a driftgauge store", retriable=False)
        if found < schema.SCHEMA_VERSION:
            text = (
                f"{self._name} has the older schema version {found}: start the agent on it once to bring it up to date"
            )
            raise ConnectorError(text, retriable=False)

    def latest_estimates(self, domain: str | None = None) -> list[Estimate]:
        """The estimate with the latest window of every (domain, fingerprint), or of one domain, sorted by them."""
        return [output_from(Estimate, row) for row in self.fetch(select_latest(domain))]

    def window_ends(self) -> tuple[float, float] | None:
        """When the oldest and the newest window with an estimate ended; None without estimates."""
        ((first, last),) = self.fetch(select(func.min(_E.window_end), func.max(_E.window_end)))
        return None if first is None else (float(first), float(last))

    def estimates(self, start: float, end: float) -> list[Estimate]:
        """Estimates of windows that ended in ``(start, end]``, by window end, domain and fingerprint."""
        query = select(_ESTIMATES).where(_E.window_end > start, _E.window_end <= end)
        in_order = query.order_by(_E.window_end, _E.domain, _E.fingerprint)
        return [output_from(Estimate, row) for row in self.fetch(in_order)]

    def alerts(self, start: float, end: float) -> list[Alert]:
        """Alerts with ``start <= event_time < end``, in the order they were raised."""
        query = select(_ALERTS).where(_A.event_time >= start, _A.event_time < end)
        return [output_from(Alert, row) for row in self.fetch(query.order_by(_A.number))]

    def alerts_after(self, number: int, limit: int) -> list[Alert]:
        """The first ``limit`` alerts with a higher number, in the order they were raised."""
        query = select(_ALERTS).where(_A.number > number).order_by(_A.number).limit(limit)
        return [output_from(Alert, row) for row in self.fetch(query)]

    def alert_states(self) -> list[Alert]:
        """The newest message about each alert that fires or fired, without those that only inform, in order."""
        query = select(_ALERTS).where(IS_NEWEST_STATE).order_by(_A.number)
        return [output_from(Alert, row) for row in self.fetch(query)]

    def newest_alert_number(self) -> int:
        """The number of the newest alert; 0 without any."""
        return int(self.fetch(select(func.max(_A.number)))[0][0] or 0)

    def latest_acquisition(self) -> Acquisition | None:
        """The newest acquisition list."""
        return next(iter(self.newest(Acquisition, 1)), None)

    def label_lists(self, start: float, end: float) -> list[LabelList]:
        """The label lists of the newest period that ended in ``(start, end]``, by rank."""
        in_span = and_(_LISTS.c.period_end > start, _LISTS.c.period_end <= end)
        newest = select(func.max(_LISTS.c.period_end)).where(in_span).scalar_subquery()
        query = select(_LISTS).where(_LISTS.c.period_end == newest).order_by(_LISTS.c.rank, _LISTS.c.key)
        return [output_from(LabelList, row) for row in self.fetch(query)]

    def slice_estimates(self, start: float, end: float) -> list[SliceEstimates]:
        """Estimates of slices over windows that ended in ``(start, end]``, by window end, domain and fingerprint."""
        query = select(_SLICES).where(_SLICES.c.window_end > start, _SLICES.c.window_end <= end)
        in_order = query.order_by(_SLICES.c.window_end, _SLICES.c.domain, _SLICES.c.fingerprint)
        return [output_from(SliceEstimates, row) for row in self.fetch(in_order)]

    def weak_segments(self, start: float, end: float) -> WeakSegments | None:
        """The newest list of weak segments of a period that ended in ``(start, end]``."""
        query = select(_WEAK).where(_WEAK.c.event_time > start, _WEAK.c.event_time <= end)
        newest = self.fetch(query.order_by(_WEAK.c.event_time.desc()).limit(1))
        return output_from(WeakSegments, newest[0]) if newest else None

    def counts(self, start: float, end: float) -> dict[str, Counts]:
        """Responses with ``start <= event_time < end`` by domain, and how many of them have a label.

        Responses that retention has aggregated count with the days that begin in the span.
        """
        names = schema.names
        live = select(names.c.name, func.count(), func.count(_R.correct)).join(names, _R.domain == names.c.seq)
        kept = select(names.c.name, func.sum(_D.n_events), func.sum(_D.n_labels)).join(names, _D.domain == names.c.seq)
        day = _D.day * retention.DAY_S
        found = [
            *self.fetch(live.where(_R.event_time >= start, _R.event_time < end).group_by(names.c.name)),
            *self.fetch(kept.where(day >= start, day < end).group_by(names.c.name)),
        ]
        counts: dict[str, Counts] = {}
        for domain, n_events, n_labels in found:
            so_far = counts.get(domain, Counts(0, 0))
            counts[domain] = Counts(so_far.n_events + int(n_events), so_far.n_labels + int(n_labels))
        return counts

    def label_sources(self, start: float, end: float) -> list[SourceCounts]:
        """Labels of responses with ``start <= event_time < end`` by their source: the `MAX_SOURCES` largest sources."""
        is_compared = and_(_L.inclusion_probability.is_(None), _R.label_kind == "designed", _R.weight > 0)
        agrees = and_(is_compared, (_L.correct >= 0.5) == (_R.correct >= 0.5))
        n, compared, agreeing = (func.count(case((which, 1))) for which in (true(), is_compared, agrees))
        of_response = and_(_R.id_hash == _L.response_hash, _R.id == _L.response_id)
        query = select(_L.source, n, compared, agreeing).join(schema.responses, of_response)
        in_span = query.where(_L.source != "", _L.correct.is_not(None), _R.event_time >= start, _R.event_time < end)
        largest = in_span.group_by(_L.source).order_by(n.desc(), _L.source).limit(MAX_SOURCES)
        return [SourceCounts(*row) for row in self.fetch(largest)]

    def reliability(
        self, start: float, end: float, confidence_level: float, series: SeriesKey | None = None
    ) -> list[ReliabilityBin]:
        """Predictions against labels, of responses with ``start <= event_time < end``; empty bins are left out.

        Of one series, or of all live responses.
        """
        found = self.fetch(select_reliability(start, end, series))
        return [reliability_bin(**row._mapping, confidence_level=confidence_level) for row in found]

    def predicted(self, start: float, end: float) -> tuple[int, int]:
        """Stored live responses with ``start <= event_time < end``, and those of them with a prediction."""
        n, n_predicted = self.fetch(select_predicted(start, end))[0]
        return n, n_predicted

    def rejected(self) -> dict[str, int]:
        """Dead letters that are kept, by reason, the most frequent reason first."""
        return {row.reason: row.n for row in self.fetch(select_rejected())}

    def live_texts(self, since: float) -> Iterator[tuple[str, str]]:
        """Id and text of responses that have a text, with ``event_time >= since``, without probes."""
        query = select(_R.id, _R.text).join(schema.names, _R.domain == schema.names.c.seq)
        wanted = query.where(_R.text.is_not(None), _R.event_time >= since)
        with self._connected() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(wanted.where(IS_LIVE)):
                yield row.id, row.text

    def span(self) -> tuple[float, float] | None:
        """Event time of the oldest and of the newest response still kept; None without any."""
        oldest, newest = self.fetch(select(func.min(_R.event_time), func.max(_R.event_time)))[0]
        return None if oldest is None else (oldest, newest)

    def labelled(self, fingerprint: str, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), that have a resolved label."""
        return as_rows(self.fetch(newest_labelled(fingerprint, limit))[::-1])

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name, for every name that starts with ``prefix``, all of one commit."""
        return {row.name: row.value for row in self.fetch(select_state(prefix))}

    def pending_labels(self) -> PendingLabels:
        """How many labels wait for their response, since when, and the likeliest causes."""
        with self._connected() as connection:
            return pending_labels(connection)

    def labels_of(self, response_ids: Collection[str]) -> list[Label]:
        """Every label event stored for these responses, withdrawals included."""
        wanted = set(response_ids)  # a hash may be shared
        query = select(schema.labels).order_by(_L.seq)
        parts = (self.fetch(query.where(_L.response_hash.in_(hashes))) for hashes in _hashes(wanted))
        return [rows.label(row) for row in chain.from_iterable(parts) if row.response_id in wanted]

    def texts(self, response_ids: Collection[str]) -> dict[str, str]:
        """The texts of these responses, by id; those without a stored text are absent."""
        wanted = set(response_ids)
        query = select(_R.id, _R.text).where(_R.text.is_not(None))
        parts = (self.fetch(query.where(_R.id_hash.in_(hashes))) for hashes in _hashes(wanted))
        return {row.id: row.text for row in chain.from_iterable(parts) if row.id in wanted}

    def newest(self, record: type[R], limit: int) -> list[R]:
        """The newest stored outputs of one kind, by the type of its record, newest first."""
        return [output_from(record, row) for row in self.fetch(newest_outputs(record, limit))]

    def dropped_dead_letters(self) -> int:
        """How many dead letters made room for newer ones, over the life of the store."""
        with self._connected() as connection:
            return retention.dropped_dead_letters(connection)

    def close(self) -> None:
        """Release everything; safe to call twice."""
        self._engine.dispose()

    def fetch(self, query: Executable) -> list[Any]:
        """The rows that a query on the tables of `schema` returns."""
        with self._connected() as connection:
            return list(connection.execute(query).all())

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with translated(self._name), self._engine.connect() as connection:
            yield connection


def _hashes(ids: Collection[str]) -> Iterator[list[int]]:
    """The hashes of ids, in pieces small enough for one query."""
    return per_query(sorted(map(schema.id_hash, ids)))
