"""Responses as they are listed, newest first, and one of them with its labels: queries for `StoreQueries`.

A condition on labels, predictions or the context alone may fit few responses, so that one query looks at
`MAX_LOOKED_AT` responses at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_, union_all

from driftgauge.connectors.store import rows, schema
from driftgauge.connectors.store.columns import from_bytes, slices_from
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.selections import domains, fingerprints, select_responses
from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Label
from driftgauge.models.series import SeriesKey

MAX_LOOKED_AT = 50_000
MAX_LABELS = 100
"""The newest label events of one response that are given."""

_R, _L = schema.responses.c, schema.labels.c
_SHOWN = (
    _R.seq, _R.id, domains.c.name.label("domain"), fingerprints.c.name.label("fingerprint"), _R.event_time,
    _R.p_correct, _R.correct, _R.weight, _R.label_kind, _R.classifier_version, _R.n_tokens, _R.finish_reason, _R.slices,
)  # fmt: skip


class Place(NamedTuple):
    """The place of a response in the list."""

    event_time: float
    seq: schema.Whole


@dataclass(frozen=True, slots=True)
class Listed:
    """A response as it is listed; None: unknown.

    ``label_kind`` is empty, and ``weight`` is 1, before the first label.
    """

    seq: int
    id: str
    domain: str
    fingerprint: str
    event_time: float
    p_correct: float | None
    correct: float | None
    weight: float
    label_kind: str
    classifier_version: int
    n_tokens: int
    finish_reason: str | None
    slices: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Its place in the list."""
        return Place(self.event_time, self.seq)


@dataclass(frozen=True, slots=True)
class ResponseFilter:
    """Which responses are wanted; None: any.

    Attributes
    ----------
    start, end : event time, ``[start, end)``
    before : only responses behind this place
    limit : most responses
    """

    domain: str | None
    fingerprint: str | None
    start: float
    end: float
    is_labelled: bool | None
    min_p_correct: float | None
    max_p_correct: float | None
    before: Place | None
    limit: int


class Found(NamedTuple):
    """Responses, and the place behind which there may be more; None: there are no more."""

    responses: list[Listed]
    last: Place | None


@dataclass(frozen=True, slots=True)
class Detail:
    """What is kept of one response besides what is listed: features, and its newest label events, oldest first."""

    listed: Listed
    features: Float32s
    labels: list[Label]
    text: str | None


def list_responses(queries: StoreQueries, wanted: ResponseFilter, max_looked_at: int = MAX_LOOKED_AT) -> Found:
    """Responses, the newest first; fewer than the limit, with a place, where few of those looked at are wanted."""
    parts, conditions = _parts(queries, wanted), _conditions(wanted)
    if not parts:
        return Found([], None)
    farthest = _farthest(queries, parts, max_looked_at) if conditions else None
    if farthest is not None:
        conditions.append(tuple_(_R.event_time, _R.seq) >= tuple_(*farthest))
    found = queries.fetch(_shown(_newest([and_(part, *conditions) for part in parts], wanted.limit + 1)))
    listed = [_listed(row) for row in found[: wanted.limit]]
    return Found(listed, listed[-1].place if len(found) > wanted.limit else farthest)


def find_response(queries: StoreQueries, response_id: str) -> Detail | None:
    """The response with this id."""
    key = schema.id_hash(response_id)
    is_it = and_(_R.id_hash == key, _R.id == response_id)
    found = queries.fetch(select_responses(*_SHOWN, _R.features, _R.text).where(is_it).limit(1))
    if not found:
        return None
    of_it = select(schema.labels).where(_L.response_hash == key, _L.response_id == response_id)
    labels = queries.fetch(of_it.order_by(_L.event_time.desc(), _L.seq.desc()).limit(MAX_LABELS))
    row = found[0]
    return Detail(_listed(row), from_bytes(row.features), [rows.label(label) for label in reversed(labels)], row.text)


def newest_since(queries: StoreQueries, start: float, end: float, limit: int, series: SeriesKey | None = None) -> float:
    """The event time from which ``[start, end)`` holds ``limit`` responses, of one series or of all; else ``start``."""
    within = [_R.event_time >= start, _R.event_time < end]
    if series is not None:
        within.append(_of(schema.number_of(series.domain), schema.number_of(series.fingerprint)))
    in_order = select(_R.event_time).where(*within).order_by(_R.event_time.desc())
    found = queries.fetch(in_order.offset(limit - 1).limit(1))
    return float(found[0].event_time) if found else start


def newest_signals(queries: StoreQueries, series: SeriesKey, end: float, limit: int) -> Sequence[Any]:
    """Event time, p_correct, n_tokens and stored features of the newest responses of a series before ``end``."""
    of_series = _of(schema.number_of(series.domain), schema.number_of(series.fingerprint))
    query = select(_R.event_time, _R.p_correct, _R.n_tokens, _R.features).where(of_series, _R.event_time < end)
    return queries.fetch(query.order_by(_R.event_time.desc(), _R.seq.desc()).limit(limit))


def _parts(queries: StoreQueries, wanted: ResponseFilter) -> list[ColumnElement[bool]]:
    """Conditions that each fit responses which an index has in order: of all, or of each context of a domain."""
    within = [_R.event_time >= wanted.start, _R.event_time < wanted.end]
    if wanted.before is not None:
        time, seq = wanted.before
        within += [_R.event_time <= time, tuple_(_R.event_time, _R.seq) < tuple_(time, seq)]
    if wanted.domain is None:
        return [and_(*within)]
    domain = schema.number_of(wanted.domain)
    if wanted.fingerprint is not None:
        return [and_(_of(domain, schema.number_of(wanted.fingerprint)), *within)]
    return [and_(_of(domain, number), *within) for number in _contexts(queries, domain)]


def _contexts(queries: StoreQueries, domain: ColumnElement[int]) -> list[int]:
    """The numbers of the contexts of a domain: one look into the index for each, however many responses it has."""
    lowest = select(func.min(_R.fingerprint).label("number")).where(_R.domain == domain)
    found = lowest.cte("contexts", recursive=True)
    higher = lowest.where(_R.fingerprint > found.c.number).scalar_subquery()
    found = found.union_all(select(higher).where(found.c.number.is_not(None)))
    return [row.number for row in queries.fetch(select(found.c.number).where(found.c.number.is_not(None)))]


def _conditions(wanted: ResponseFilter) -> list[ColumnElement[bool]]:
    """Conditions that no index has in order of event time."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.domain is None and wanted.fingerprint is not None:
        conditions.append(_R.fingerprint == schema.number_of(wanted.fingerprint))
    if wanted.is_labelled is not None:
        conditions.append(_R.correct.is_not(None) if wanted.is_labelled else _R.correct.is_(None))
    if wanted.min_p_correct is not None:
        conditions.append(_R.p_correct >= wanted.min_p_correct)
    if wanted.max_p_correct is not None:
        conditions.append(_R.p_correct <= wanted.max_p_correct)
    return conditions


def _farthest(queries: StoreQueries, parts: Sequence[ColumnElement[bool]], n: int) -> Place | None:
    """The place of the n-th response, the last one that is looked at; None where there are fewer."""
    newest = _newest(parts, n).subquery()
    last_first = select(newest).order_by(newest.c.event_time.desc(), newest.c.seq.desc())
    found = queries.fetch(last_first.offset(n - 1).limit(1))
    return Place(*found[0]) if found else None


def _newest(parts: Sequence[ColumnElement[bool]], limit: int) -> Select[*tuple[Any, ...]]:
    """Event time and seq of the newest responses that fit one of the conditions."""
    each = [
        select(
            select(_R.event_time, _R.seq)
            .where(part)
            .order_by(_R.event_time.desc(), _R.seq.desc())
            .limit(limit)
            .subquery()
        )
        for part in parts
    ]
    found = union_all(*each).subquery()
    return select(found.c.event_time, found.c.seq).order_by(found.c.event_time.desc(), found.c.seq.desc()).limit(limit)


def _shown(newest: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    wanted = select(newest.subquery().c.seq)
    return select_responses(*_SHOWN).where(_R.seq.in_(wanted)).order_by(_R.event_time.desc(), _R.seq.desc())


def _of(domain: ColumnElement[int] | int, fingerprint: ColumnElement[int] | int) -> ColumnElement[bool]:
    return and_(_R.domain == domain, _R.fingerprint == fingerprint)


def _listed(row: Any) -> Listed:
    values = {name: row._mapping[name] for name in Listed.__slots__}
    return Listed(**{**values, "slices": slices_from(row.slices)})
