"""The verdicts of a judge beside what people and programs say: a query for `StoreQueries`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import and_, case, exists, select

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.arrays import Float64s

MAX_VERDICTS = 100_000

_R = schema.responses.c


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """The verdicts of a judge on the M responses of one domain that it saw.

    Attributes
    ----------
    verdict, truth : (M,) in [0, 1]; the truth is NaN where no label of people or programs counts
    verdict_weight, truth_weight : (M,) 1 / the probability with which a response was drawn; 1 where it is unknown
    """

    verdict: Float64s
    verdict_weight: Float64s
    truth: Float64s
    truth_weight: Float64s


def verdicts(queries: StoreQueries, start: float, end: float) -> dict[str, Verdicts]:
    """The verdicts of a judge on responses with ``start <= event_time < end``, and their truth, by domain.

    Of several verdicts on a response the newest counts. The truth is that of labels which count in estimates, where
    one of them is by a person or a program. Reads the `MAX_VERDICTS` newest responses.
    """
    judged, other = schema.labels.alias(), schema.labels.alias()
    of_response = and_(_R.id_hash == judged.c.response_hash, _R.id == judged.c.response_id)
    is_known = (
        exists()
        .where(other.c.response_hash == _R.id_hash, other.c.response_id == _R.id)
        .where(other.c.annotator_kind != "model", other.c.correct.is_not(None))
    )
    truth = case((and_(_R.weight > 0, is_known), _R.correct))
    query = (
        select(schema.names.c.name, _R.seq, judged.c.correct, judged.c.inclusion_probability, truth, _R.weight)
        .join(judged, of_response)
        .join(schema.names, _R.domain == schema.names.c.seq)
        .where(judged.c.source == "judge", judged.c.correct.is_not(None))
        .where(_R.event_time >= start, _R.event_time < end)
        .order_by(_R.event_time.desc(), _R.seq.desc(), judged.c.event_time.desc(), judged.c.label_id)
        .limit(MAX_VERDICTS)
    )
    newest: dict[int, Any] = {}
    for row in queries.fetch(query):
        newest.setdefault(row.seq, row)
    by_domain: dict[str, list[Any]] = {}
    for row in newest.values():
        by_domain.setdefault(row.name, []).append(row)
    return {domain: _as_verdicts(rows) for domain, rows in sorted(by_domain.items())}


def _as_verdicts(rows: list[Any]) -> Verdicts:
    _, _, verdict, probability, truth, weight = zip(*rows, strict=True)
    return Verdicts(
        np.array(verdict, dtype=np.float64),
        np.array([1 / p if p else 1.0 for p in probability]),
        np.array(truth, dtype=np.float64),  # None becomes NaN
        np.array([w or 1.0 for w in weight], dtype=np.float64),
    )
