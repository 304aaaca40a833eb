"""Stored responses: one as a row, many as columns. *Missing* is NaN in arrays and ``None`` in scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from driftgauge.models.arrays import Float32s, Float64s, Floats, Int64s, Strings
from driftgauge.models.series import SeriesKey


@dataclass(frozen=True, slots=True, eq=False)
class ResponseRow:
    """A response as the store remembers it: all that a label needs when it comes three weeks later.

    ``seq`` is the order of arrival (0, 1, 2 … over the life of the store). ``features`` is (d,) float32.
    ``correct`` is the resolved label (NaN: none yet), ``weight`` its weight (1 / inclusion probability; 1 when
    unknown), ``label_kind`` how it was chosen: ``designed`` (probability known), ``unknown``, or ``withdrawn`` (there
    was a label); empty before the first.
    """

    seq: int
    id: str
    domain: str
    fingerprint: str
    event_time: float
    features: Floats
    p_correct: float
    classifier_version: int
    n_tokens: int
    slices: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    correct: float = math.nan
    weight: float = 1.0
    label_kind: str = ""
    text: str | None = None

    @property
    def series(self) -> SeriesKey:
        """The series it belongs to."""
        return SeriesKey(self.domain, self.fingerprint)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns of stored responses, n of them, sorted by (event_time, id): windows and training sets alike."""

    seq: Int64s
    id: Strings
    domain: Strings
    event_time: Float64s
    features: Float32s  # (n, d)
    p_correct: Float64s  # NaN: predicted before the classifier was ready
    correct: Float64s  # NaN: no label
    weight: Float64s

    def __len__(self) -> int:
        return len(self.seq)
