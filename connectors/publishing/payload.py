"""The payload of outputs as JSON. A missing value is null, never NaN; a time is RFC 3339 text in UTC."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TIMES = frozenset(
    {"event_time", "window_start", "window_end", "watermark", "since", "period_start", "period_end", "expires"}
)
"""The fields of records that hold a time: seconds since the epoch in the record, text in its payload."""


def to_json(record: Any) -> bytes:
    """The payload of an output as the topics carry it."""
    return msgspec.json.encode(payload(record), enc_hook=_builtin)


def payload(record: Any) -> dict[str, Any]:
    """The fields of a record by name, and of the records in it; times as RFC 3339 text, other values as they are."""
    return {item.name: _shown(item.name, getattr(record, item.name)) for item in fields(record)}


def _shown(name: str, value: Any) -> Any:
    if name in TIMES:
        return rfc3339(value)
    if isinstance(value, tuple) and value and _has_times(value[0]):
        return [payload(one) for one in value]
    return value


def _has_times(value: Any) -> bool:
    return is_dataclass(value) and any(item.name in TIMES for item in fields(value))


def rfc3339(seconds: float | None) -> str | None:
    """UTC seconds since the epoch as text; None for a time that no calendar holds.

    >>> rfc3339(1700000000.25), rfc3339(float("nan"))
    ('2023-11-14T22:13:20.250000Z', None)
    """
    try:
        moment = _EPOCH + timedelta(seconds=float("nan") if seconds is None else seconds)
    except (OverflowError, ValueError):
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _builtin(value: Any) -> Any:
    """Numpy scalars are numbers too."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
