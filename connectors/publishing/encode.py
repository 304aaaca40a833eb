"""From outputs to messages: JSON in the value, a CloudEvents 1.0 envelope (binary mode) in the headers.

Owns the names and the form of everything that leaves. Missing is null, never NaN; times are RFC 3339 in UTC. A
dead letter is not JSON: its value is the record as it came, so that it can be sent again, and its headers say why.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from driftgauge.connectors.base import Message
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Prediction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = frozenset({"event_time", "window_start", "window_end", "watermark", "since"})


@dataclass(frozen=True, slots=True)
class Topics:
    """Where each kind of output goes; empty: nowhere, it is only kept in the store."""

    estimates: str = "driftgauge.estimates"
    alerts: str = "driftgauge.alerts"
    priorities: str = "driftgauge.priorities"
    predictions: str = "driftgauge.predictions"
    dead_letters: str = "driftgauge.dead-letters"


def encode(output: Output, topics: Topics, source: str, epoch: int, seq: int = 0) -> Message:
    """The message that carries this output; the same output and epoch always give the same bytes.

    ``source`` becomes ``ce_source``; ``epoch`` goes into the header ``driftgauge-epoch``: of two messages with the
    same key the one with the higher (epoch, revision) is right.

    Examples
    --------
    >>> made = Prediction("r-1", "law", "f", 60.0, float("nan"), 5, 1, is_final=True)
    >>> message = encode(made, Topics(), "driftgauge", epoch=1)
    >>> dict(message.headers)["ce_type"]
    b'driftgauge.prediction.made.v1'
    >>> b'"event_time":"1970-01-01T00:01:00Z","p_correct":null' in message.value
    True
    """
    if isinstance(output, Rejected):
        return _dead_letter(output, topics.dead_letters, source, epoch, seq)
    topic, event_type, event_id, event_time = _identity(output, topics)
    envelope = _envelope(event_type, event_id, source, epoch, event_time)
    headers = (*envelope, ("content-type", b"application/json"))
    return Message(seq, topic, output.key.encode(), to_json(output), headers)


def with_bytes(output: Output) -> Output:
    """The same output; a dead letter that holds an event holds its bytes afterwards, so that it can be sent again."""
    if not isinstance(output, Rejected) or output.event is None:
        return output
    event = output.event
    value = encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")
    return replace(output, value=value, headers=(("content-type", b"application/msgpack"),), event=None)


def to_json(output: Output) -> bytes:
    """The payload as the topics carry it: the fields of the record, times as text, missing values null."""
    return msgspec.json.encode(payload(output), enc_hook=_builtin)


def payload(output: Output) -> dict[str, Any]:
    """The fields of the record by name, times as RFC 3339 text; other values as they are."""
    values = ((item.name, getattr(output, item.name)) for item in fields(output))
    return {name: rfc3339(value) if name in TIMES else value for name, value in values}


def rfc3339(seconds: float | None) -> str | None:
    """UTC seconds since the epoch as text; None for what no calendar holds.

    >>> rfc3339(1700000000.25), rfc3339(float("nan"))
    ('2023-11-14T22:13:20.250000Z', None)
    """
    try:
        moment = _EPOCH + timedelta(seconds=float("nan") if seconds is None else seconds)
    except (OverflowError, ValueError):
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _identity(output: Estimate | Alert | Acquisition | Prediction, topics: Topics) -> tuple[str, str, str, float]:
    """Topic, event type, event id (one per content) and event time."""
    match output:
        case Estimate():
            return topics.estimates, "estimate.updated", f"{output.key}@{output.revision}", output.window_end
        case Alert():
            return topics.alerts, "alert.raised", output.key, output.event_time
        case Acquisition():
            return topics.priorities, "acquisition.list.created", f"{output.key}@{output.revision}", output.event_time
        case Prediction():
            stage = "final" if output.is_final else str(output.n_tokens)
            return topics.predictions, "prediction.made", f"{output.key}@{stage}", output.event_time


def _envelope(
    event_type: str, event_id: str, source: str, epoch: int, event_time: float | None
) -> tuple[tuple[str, bytes], ...]:
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": source,
        "ce_type": f"driftgauge.{event_type}.v1",
        "ce_time": rfc3339(event_time),
        "driftgauge-epoch": str(epoch),
    }
    return tuple((name, value.encode()) for name, value in attributes.items() if value is not None)


def _dead_letter(rejected: Rejected, topic: str, source: str, epoch: int, seq: int) -> Message:
    """Original key and value; the original headers keep their names behind ``original-``."""
    position = f"{rejected.topic}/{rejected.partition}/{rejected.offset}"
    content = hashlib.blake2b(repr((rejected.reason, rejected.key, rejected.value)).encode(), digest_size=6)
    about = {
        "driftgauge-reason": rejected.reason,
        "driftgauge-detail": rejected.detail,
        "driftgauge-topic": rejected.topic,
        "driftgauge-partition": str(rejected.partition),
        "driftgauge-offset": str(rejected.offset),
    }
    headers = (
        *_envelope("dead_letter.recorded", f"{position}/{content.hexdigest()}", source, epoch, None),
        *((name, value.encode()) for name, value in about.items()),
        *((f"original-{name}", value) for name, value in rejected.headers),
        ("content-type", dict(rejected.headers).get("content-type", b"application/octet-stream")),
    )
    return Message(seq, topic, rejected.key or b"", rejected.value or b"", headers)


def _builtin(value: Any) -> Any:
    """Numpy scalars are numbers too."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
