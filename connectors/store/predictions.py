"""Stored predictions of one context, and the labels that came after them: queries for `StoreQueries`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, and_, func, select, true

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.arrays import Float64s

_R = schema.responses.c


@dataclass(frozen=True, slots=True)
class Predictions:
    """Responses that got a p_correct when they arrived.

    Attributes
    ----------
    queries : on the store
    fingerprint : of the context
    domain : only of this domain; None: of all
    since : only of this event time and later, UTC seconds; None: all that the store keeps
    """

    queries: StoreQueries
    fingerprint: str
    domain: str | None = None
    since: float | None = None

    def count(self, at_least: float = 0.0) -> int:
        """How many have a p_correct of ``at_least`` this."""
        counted = select(func.count()).where(self._selected, _R.p_correct >= at_least)
        return int(self.queries.fetch(counted)[0][0])

    def labelled(self) -> tuple[Float64s, Float64s, Float64s]:
        """p_correct, label and weight, (n,) each, of those whose label counts (weight above 0)."""
        labelled = select(_R.p_correct, _R.correct, _R.weight).where(
            self._selected, _R.p_correct.is_not(None), _R.correct.is_not(None), _R.weight > 0
        )
        p, correct, weight = np.array([tuple(row) for row in self.queries.fetch(labelled)]).reshape(-1, 3).T
        return p, correct, weight

    @property
    def _selected(self) -> ColumnElement[bool]:
        return and_(
            _R.fingerprint == schema.number_of(self.fingerprint),
            true() if self.domain is None else _R.domain == schema.number_of(self.domain),
            true() if self.since is None else _R.event_time >= self.since,
        )
