"""Alerts by what they are about, newest first: queries for `StoreQueries`."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, select, true

from driftgauge.connectors.store.output_tables import output_from, output_table
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.selections import IS_NEWEST_STATE
from driftgauge.models.outputs import Alert, Severity

_ALERTS = output_table(Alert)
_A = _ALERTS.c


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are wanted; None: any.

    Attributes
    ----------
    start, end : event time, ``[start, end)``
    before : only alerts with a lower number
    limit : most alerts
    """

    domains: Collection[str] | None = None
    severity: Severity | None = None
    kind: str | None = None
    start: float = -math.inf
    end: float = math.inf
    before: int | None = None
    limit: int | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition on the table of alerts."""
        equal = (_A.severity, self.severity), (_A.kind, self.kind)
        wanted = [column == value for column, value in equal if value is not None]
        wanted += [] if self.domains is None else [_A.domain.in_(self.domains)]
        wanted += [] if self.before is None else [_A.number < self.before]
        # without needless bounds, so that the index of numbers is used
        wanted += [] if math.isinf(self.start) else [_A.event_time >= self.start]
        wanted += [] if math.isinf(self.end) else [_A.event_time < self.end]
        return and_(true(), *wanted)


def newest_alerts(queries: StoreQueries, wanted: AlertFilter) -> list[Alert]:
    """Alerts, the newest first."""
    query = select(_ALERTS).where(wanted.condition).order_by(_A.number.desc()).limit(wanted.limit)
    return [output_from(Alert, row) for row in queries.fetch(query)]


def open_alerts(queries: StoreQueries, wanted: AlertFilter) -> list[Alert]:
    """The newest message about each alert that fires, without those that only inform, the newest first."""
    is_open = and_(IS_NEWEST_STATE, _A.state != "resolved")
    query = select(_ALERTS).where(is_open, wanted.condition).order_by(_A.number.desc()).limit(wanted.limit)
    return [output_from(Alert, row) for row in queries.fetch(query)]
