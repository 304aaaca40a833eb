"""Accuracy of all series over the newest boundaries: a query for `StoreQueries` that reads no whole estimates."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from driftgauge.connectors.store.output_tables import output_table
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.outputs import Estimate
from driftgauge.models.series import SeriesKey

_E = output_table(Estimate).c


def newest_boundaries(queries: StoreQueries, limit: int) -> list[float]:
    """The newest window ends that any series has, oldest first."""
    query = select(_E.window_end).distinct().order_by(_E.window_end.desc()).limit(limit)
    return [row.window_end for row in reversed(queries.fetch(query))]


def accuracy_at(
    queries: StoreQueries, since: float, domains: Collection[str] | None = None
) -> dict[SeriesKey, dict[float, float | None]]:
    """The accuracy of every series, or of those of these domains, by window end, from the boundary ``since`` on."""
    query = select(_E.domain, _E.fingerprint, _E.window_end, _E.accuracy).where(_E.window_end >= since)
    query = query if domains is None else query.where(_E.domain.in_(domains))
    found: dict[SeriesKey, dict[float, float | None]] = {}
    for domain, fingerprint, end, accuracy in queries.fetch(query):
        found.setdefault(SeriesKey(domain, fingerprint), {})[end] = accuracy
    return found
