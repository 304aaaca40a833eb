"""Stored responses: one as a row, many as columns. A *missing* value is NaN in arrays and ``None`` in scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct

from driftgauge.models.arrays import Float32s, Float64s, Floats, Int64s, Objects, Strings
from driftgauge.models.series import SeriesKey


class ResponseRow(Struct, frozen=True, eq=False):
    """A response in the store, with everything that a label needs when it arrives three weeks later.

    Attributes
    ----------
    seq : order of arrival: 0, 1, 2 … over the life of the store
    id, domain, fingerprint, event_time : of the response and its context
    features : (d,) float32, as computed when the response arrived
    p_correct : predicted when the response arrived; NaN without a prediction
    classifier_version : version of the classifier that made the prediction
    n_tokens, slices, finish_reason, text : of the response
    correct : the resolved label, in [0, 1]; NaN without a label
    weight : of the label: 1 / inclusion probability, and 1 when that is unknown
    label_kind : ``designed`` when the inclusion probability is known, ``unknown`` when it is not, ``withdrawn`` when
        the label was withdrawn, empty before the first label
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
    slices: Mapping[str, str] = msgspec.field(default_factory=dict)
    finish_reason: str | None = None
    correct: float = math.nan
    weight: float = 1.0
    label_kind: str = ""
    text: str | None = None

    @property
    def series(self) -> SeriesKey:
        """The series to which the response belongs."""
        return SeriesKey(self.domain, self.fingerprint)

    @property
    def has_features(self) -> bool:
        """Whether any feature has a value; without one, the response is stored for its labels only."""
        first = self.features.item(0)  # mostly it has a value
        return not (math.isnan(first) and np.isnan(self.features).all())


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns of n stored responses, sorted by (event_time, id); windows and training sets are both read like this."""

    seq: Int64s
    id: Strings
    domain: Strings
    event_time: Float64s
    features: Float32s  # (n, d)
    p_correct: Float64s  # NaN without a prediction
    correct: Float64s  # NaN without a label
    weight: Float64s
    slices: Objects  # mappings as in `ResponseRow`

    def __len__(self) -> int:
        return len(self.seq)
