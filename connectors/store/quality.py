"""Statements about the quality of what a store holds: predictions against labels, coverage, what was rejected.

Each reads one span of event time and gives few rows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import output_table
from driftgauge.connectors.store.selections import IS_LIVE
from driftgauge.models.classify.reliability import N_BINS
from driftgauge.models.events import Rejected
from driftgauge.models.series import SeriesKey

_R = schema.responses.c


def select_reliability(start: float, end: float, series: SeriesKey | None = None) -> Select[*tuple[Any, ...]]:
    """For each bin of p_correct: labels, and sums of weights, their squares, predictions and labels, by weight.

    Of one series, or of all live responses.
    """
    which = case(*((_R.p_correct < edge / N_BINS, edge - 1) for edge in range(1, N_BINS)), else_=N_BINS - 1)
    w = _R.weight
    sums = {"weight": w, "squares": w * w, "predicted": w * _R.p_correct, "correct": w * _R.correct}
    counted = func.count().label("n"), *(func.sum(summed).label(name) for name, summed in sums.items())
    compared = select(*counted).where(_R.p_correct.is_not(None), _R.correct.is_not(None), w > 0)
    if series is None:
        found = _live(compared, start, end)
    else:
        domain, fingerprint = schema.number_of(series.domain), schema.number_of(series.fingerprint)
        found = compared.where(_R.domain == domain, _R.fingerprint == fingerprint, _in_span(start, end))
    return found.group_by(which).order_by(which)


def select_predicted(start: float, end: float) -> Select[*tuple[Any, ...]]:
    """Number of responses, and of those with a prediction."""
    return _live(select(func.count(), func.count(_R.p_correct)), start, end)


def select_rejected() -> Select[*tuple[Any, ...]]:
    """Reason and number of the dead letters that are kept, the most frequent first; they have no event time."""
    reason, n = output_table(Rejected).c.reason, func.count().label("n")
    return select(reason, n).group_by(reason).order_by(n.desc(), reason)


def _live(query: Select[*tuple[Any, ...]], start: float, end: float) -> Select[*tuple[Any, ...]]:
    joined = query.select_from(schema.responses).join(schema.names, _R.domain == schema.names.c.seq)
    live = joined.where(IS_LIVE)
    return live.where(_in_span(start, end))


def _in_span(start: float, end: float) -> ColumnElement[bool]:
    return and_(_R.event_time >= start, _R.event_time < end)
