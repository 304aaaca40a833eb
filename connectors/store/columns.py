"""Stored responses as columns: the only place that makes `Rows`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s
from driftgauge.models.rows import Rows
from driftgauge.models.signals.feature_sets import FEATURES, common_width, in_width

_SLICES = msgspec.json.Decoder(dict[str, str])


class Remembered(NamedTuple):
    """The values of one response that a window or a training set needs.

    ``features`` are little-endian float32 bytes, ``slices`` a JSON object; None: none.
    """

    seq: int
    id: str
    domain: str
    event_time: float
    features: bytes
    p_correct: float | None
    correct: float | None
    weight: float
    slices: str | None = None


def as_rows(remembered: Sequence[Sequence[Any]]) -> Rows:
    """Columns, from the values of `Remembered` in any sequence; the order stays, None becomes NaN.

    Examples
    --------
    >>> rows = as_rows([Remembered(0, "r", "law", 1.0, as_bytes([0.5, 2.0]), None, 1.0, 1.0)])
    >>> rows.features.tolist(), rows.p_correct.tolist()
    ([[0.5, 2.0]], [nan])
    """
    columns = list(zip(*remembered, strict=True)) or [()] * len(Remembered._fields)
    seq, ids, domain, event_time, features, p_correct, correct, weight, slices = columns
    return Rows(
        seq=np.array(seq, dtype=np.int64),
        id=np.array(ids, dtype=np.str_),
        domain=np.array(domain, dtype=np.str_),
        event_time=np.array(event_time, dtype=np.float64),
        features=stack(features),
        p_correct=np.array(p_correct, dtype=np.float64),
        correct=np.array(correct, dtype=np.float64),
        weight=np.array(weight, dtype=np.float64),
        slices=np.array([slices_from(text) for text in slices], dtype=np.object_),
    )


def as_bytes(features: npt.ArrayLike) -> bytes:
    """Features as they are stored."""
    return np.asarray(features, dtype="<f4").tobytes()


def from_bytes(features: bytes) -> Float32s:
    """Features as they were stored, (d,), read-only."""
    return np.frombuffer(features, dtype="<f4").astype(np.float32, copy=False)


def slices_from(text: str | None) -> Mapping[str, str]:
    """Slices as they were stored.

    >>> slices_from('{"language":"de"}'), slices_from(None)
    ({'language': 'de'}, {})
    """
    return _SLICES.decode(text) if text else {}


def as_text(slices: Mapping[str, str]) -> str | None:
    """Slices as they are stored."""
    return msgspec.json.encode(dict(slices)).decode() if slices else None


def known(value: float | None) -> float | None:
    """None for NaN, because NULL is the unknown of a database.

    >>> known(float("nan")), known(0.0)
    (None, 0.0)
    """
    return None if value is None or math.isnan(value) else float(value)


def stack(features: Sequence[bytes]) -> Float32s:
    """Stored features as one array, (n, d), with every column that one of the rows has; NaN where a row lacks it."""
    widths = {len(row) // 4 for row in features} or {len(FEATURES)}
    if len(widths) == 1:
        return from_bytes(b"".join(features)).reshape(len(features), *widths)
    width = common_width(widths)
    return np.concatenate([in_width(from_bytes(row)[None], width) for row in features])
