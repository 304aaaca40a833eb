"""`replace` for dataclasses, and for the frozen structs of events and rows: as `copy.replace` of Python 3.13."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def replace(value: T, /, **changes: Any) -> T:
    """A copy of the value with some fields changed.

    >>> from driftgauge.models.events import Context, Tick
    >>> replace(Context(model="m"), k=5).k, replace(Tick(1.0), event_time=2.0)
    (5, Tick(event_time=2.0))
    """
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]
