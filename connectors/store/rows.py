"""From responses, labels and messages to the rows of the tables in `schema`, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import msgspec
import numpy as np
from sqlalchemy import Row

from driftgauge.connectors.base import Message
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.columns import as_bytes, as_text, from_bytes, known, slices_from
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow

Values: TypeAlias = dict[str, Any]

_LABEL = [item.name for item in fields(Label) if item.name != "broker_time"]
_Headers: TypeAlias = tuple[tuple[str, bytes], ...]


def response_values(row: ResponseRow, domain: int, fingerprint: int) -> Values:
    """The row of a response; ``domain`` and ``fingerprint`` are the numbers of these names."""
    return {
        "seq": row.seq,
        "id_hash": schema.id_hash(row.id),
        "id": row.id,
        "domain": domain,
        "fingerprint": fingerprint,
        "event_time": float(row.event_time),
        "p_correct": known(row.p_correct),
        "correct": known(row.correct),
        "weight": float(row.weight),
        "label_kind": row.label_kind,
        "classifier_version": row.classifier_version,
        "n_tokens": int(row.n_tokens),
        "finish_reason": row.finish_reason,
        "slices": as_text(row.slices),
        "text": row.text,
        "features": as_bytes(row.features),
    }


def response(values: Sequence[Any]) -> ResponseRow:
    """A stored response from its values in the order of the fields of `ResponseRow`."""
    (seq, key, domain, fingerprint, event_time, features, p_correct, version, n_tokens, slices, finish_reason, correct,
     weight, label_kind, text) = values  # fmt: skip
    return ResponseRow(
        seq,
        key,
        domain,
        fingerprint,
        event_time,
        from_bytes(features),
        _number(p_correct),
        version,
        n_tokens,
        slices_from(slices),
        finish_reason,
        _number(correct),
        weight,
        label_kind,
        text,
    )


def resolved_values(row: ResponseRow) -> Values:
    """The values that a label changes in a stored response; their names differ from those of the columns."""
    return {
        "of_seq": row.seq,
        "to_correct": known(row.correct),
        "to_weight": float(row.weight),
        "to_kind": row.label_kind,
    }


def label_values(label: Label, *, is_pending: bool) -> Values:
    """The row of a new label, which is pending until its response is known to be stored."""
    values = {name: plain(getattr(label, name)) for name in _LABEL}
    return {**values, "response_hash": schema.id_hash(label.response_id), "is_pending": is_pending}


def label(row: Row[Any]) -> Label:
    """A stored label event."""
    return Label(*(row._mapping[name] for name in _LABEL))


def alias_values(alias: Alias) -> Values:
    """The row of an alias."""
    return {
        "name_hash": schema.id_hash(alias.name),
        "name": alias.name,
        "response_id": alias.response_id,
        "event_time": float(alias.event_time),
    }


def alias(row: Row[Any]) -> Alias:
    """A stored alias."""
    return Alias(row.name, row.response_id, row.event_time)


def stale_values(window: StaleWindow) -> Values:
    """The row of a mark on a closed window."""
    return {**window.series._asdict(), "window_end": float(window.end), "boundary": float(window.boundary)}


def stale_window(row: Row[Any]) -> StaleWindow:
    """A stored mark on a closed window."""
    return StaleWindow(row.boundary, SeriesKey(row.domain, row.fingerprint, row.slice), row.window_end)


def message_values(message: Message) -> Values:
    """The row of a message without its number, which the outbox assigns."""
    return {
        "topic": message.topic,
        "key": message.key,
        "value": message.value,
        "headers": pack(message.headers),
    }


def message(row: Row[Any]) -> Message:
    """A message of the outbox."""
    return Message(row.seq, row.topic, row.key, row.value, unpack(row.headers))


def pack(headers: _Headers) -> bytes:
    """Headers as MessagePack."""
    return msgspec.msgpack.encode(headers)


def unpack(headers: bytes) -> _Headers:
    """Headers from MessagePack."""
    return msgspec.msgpack.decode(headers, type=tuple[tuple[str, bytes], ...])


def plain(value: Any) -> Any:
    """A value as the drivers take it: numpy scalars become Python's numbers."""
    return value.item() if isinstance(value, np.generic) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
