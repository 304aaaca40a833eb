"""The newest outputs of one domain: queries for `StoreQueries`. A domain has one series for each context."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, select, true, tuple_

from driftgauge.connectors.store.output_tables import output_from, output_table
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.outputs import Estimate, LabelList, SliceEstimates
from driftgauge.models.series import SeriesKey

_ESTIMATES, _SLICES, _LISTS = output_table(Estimate), output_table(SliceEstimates), output_table(LabelList)
_E, _S, _L = _ESTIMATES.c, _SLICES.c, _LISTS.c
_NEWEST_FIRST = _E.window_end.desc(), _E.fingerprint


def newest_estimate(queries: StoreQueries, domain: str, fingerprint: str | None) -> Estimate | None:
    """The estimate with the newest window of a domain, in this context or in any."""
    query = select(_ESTIMATES).where(_of(domain, fingerprint)).order_by(*_NEWEST_FIRST).limit(1)
    return next((output_from(Estimate, row) for row in queries.fetch(query)), None)


def newest_slices(queries: StoreQueries, domain: str, fingerprint: str | None) -> SliceEstimates | None:
    """The estimates of slices beside the newest estimate of a domain that has some."""
    beside = select(_SLICES).join(_ESTIMATES, _S.key == _E.key).where(_of(domain, fingerprint))
    found = queries.fetch(beside.order_by(*_NEWEST_FIRST).limit(1))
    return next((output_from(SliceEstimates, row) for row in found), None)


def slices_beside(queries: StoreQueries, estimate: Estimate) -> SliceEstimates | None:
    """The estimates of slices that were made with an estimate."""
    found = queries.fetch(select(_SLICES).where(_S.key == estimate.key))
    return next((output_from(SliceEstimates, row) for row in found), None)


def newest_label_list(queries: StoreQueries, series: SeriesKey) -> LabelList | None:
    """The newest label list of a series."""
    of_series = and_(_L.domain == series.domain, _L.fingerprint == series.fingerprint)
    found = queries.fetch(select(_LISTS).where(of_series).order_by(_L.period_end.desc()).limit(1))
    return next((output_from(LabelList, row) for row in found), None)


def estimates_of(
    queries: StoreQueries,
    domain: str,
    fingerprint: str | None,
    span: tuple[float, float],
    after: tuple[float, str] | None,
    limit: int,
) -> Sequence[Estimate]:
    """The first ``limit`` estimates of a domain by (window end, fingerprint).

    Parameters
    ----------
    span : the window ends, ``[start, end)`` in UTC seconds
    after : only those behind this place
    """
    start, end = span
    place = tuple_(_E.window_end, _E.fingerprint)
    behind = true() if after is None else and_(_E.window_end >= after[0], place > tuple_(*after))
    query = select(_ESTIMATES).where(_of(domain, fingerprint), _E.window_end >= start, _E.window_end < end, behind)
    found = queries.fetch(query.order_by(_E.window_end, _E.fingerprint).limit(limit))
    return [output_from(Estimate, row) for row in found]


def _of(domain: str, fingerprint: str | None) -> ColumnElement[bool]:
    in_context = true() if fingerprint is None else _E.fingerprint == fingerprint
    return and_(_E.domain == domain, in_context)
