"""Label lists in parts: a query for `StoreQueries`."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select, tuple_

from driftgauge.connectors.store.output_tables import output_from, output_table
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.schema import Whole
from driftgauge.models.outputs import LabelList

_LISTS = output_table(LabelList)
_L = _LISTS.c


class ListPlace(NamedTuple):
    """The place of a label list in the order of its period."""

    period_end: float
    rank: Whole
    key: str

    @classmethod
    def of(cls, made: LabelList) -> ListPlace:
        """The place of this list."""
        return cls(made.period_end, made.rank, made.key)


def newest_label_lists(queries: StoreQueries, after: ListPlace | None, limit: int) -> list[LabelList]:
    """The first ``limit`` label lists of the newest period by rank, or those of a period behind a place."""
    query = select(_LISTS).order_by(_L.rank, _L.key).limit(limit)
    if after is None:
        query = query.where(_L.period_end == select(func.max(_L.period_end)).scalar_subquery())
    else:
        query = query.where(_L.period_end == after.period_end, tuple_(_L.rank, _L.key) > tuple_(after.rank, after.key))
    return [output_from(LabelList, row) for row in queries.fetch(query)]
