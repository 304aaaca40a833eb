"""The statement that finds the newest estimate of each series by a few looks into an index.

A grouping would read the whole index, and take longer with each window that is kept.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, func, literal, select

from driftgauge.connectors.store.output_tables import output_table
from driftgauge.models.outputs import Estimate

_ESTIMATES = output_table(Estimate)
_E = _ESTIMATES.c


def select_latest(domain: str | None) -> Select[*tuple[Any, ...]]:
    """The estimate with the latest window of every series, or of those of one domain, sorted by domain and context."""
    series = _series(_domains() if domain is None else select(literal(domain).label("domain")).cte("domains"))
    of_series = and_(_E.domain == series.c.domain, _E.fingerprint == series.c.fingerprint)
    newest = select(func.max(_E.window_end)).where(of_series).correlate(series).scalar_subquery()
    is_newest = and_(of_series, _E.window_end == newest)
    return select(_ESTIMATES).join(series, is_newest).order_by(_E.domain, _E.fingerprint)


def _domains() -> CTE:
    """Every domain, and a NULL at the end."""
    found = select(func.min(_E.domain).label("domain")).cte("domains", recursive=True)
    return found.union_all(select(_least(_E.domain, _E.domain > found.c.domain)).where(found.c.domain.is_not(None)))


def _series(domains: CTE) -> CTE:
    """Every context of these domains, and a NULL at the end of each."""
    first = _least(_E.fingerprint, _E.domain == domains.c.domain).label("fingerprint")
    found = select(domains.c.domain, first).where(domains.c.domain.is_not(None)).cte("series", recursive=True)
    further = and_(_E.domain == found.c.domain, _E.fingerprint > found.c.fingerprint)
    following = select(found.c.domain, _least(_E.fingerprint, further)).where(found.c.fingerprint.is_not(None))
    return found.union_all(following)


def _least(column: ColumnElement[str], condition: ColumnElement[bool]) -> ColumnElement[str]:
    return select(func.min(column)).where(condition).scalar_subquery()
