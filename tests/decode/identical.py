"""Whether two events are the same to the bit: arrays by type, shape and bytes; floats by their bits."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from msgspec import Struct


def bits(value: Any) -> Any:
    """The value in a form that is equal for identical values only."""
    if isinstance(value, Struct):
        return type(value).__name__, [(name, bits(getattr(value, name))) for name in value.__struct_fields__]
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, [(field.name, bits(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Mapping):
        return [(name, bits(one)) for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [bits(one) for one in value]
    return type(value).__name__, value
