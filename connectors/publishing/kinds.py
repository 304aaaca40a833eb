"""The table of outputs: everything that messages, contract and stores need to know of each kind of output.

To add an output, write its record in `driftgauge.models.outputs`, one entry below, and a setting in ``kafka.topics``.
The encoder, the JSON Schemas, the AsyncAPI document, both stores and retention read this table and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.publishing.payload import to_json
from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import (
    Acquisition,
    Alert,
    Estimate,
    LabelList,
    Prediction,
    ReportWritten,
    SliceEstimates,
    WeakSegments,
)

R = TypeVar("R")
Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class Body(NamedTuple):
    """The value of a message, and the headers that describe the value."""

    value: bytes
    headers: Headers


def json_body(record: Any) -> Body:
    """The fields of the record as JSON."""
    return Body(to_json(record), (("content-type", b"application/json"),))


def _key(record: Any) -> str:
    return str(record.key)


def _key_bytes(record: Any) -> bytes:
    return str(record.key).encode()


def _unchanged(record: Any) -> Any:
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputKind(Generic[R]):
    """One kind of output, as everything outside the core sees it.

    Attributes
    ----------
    record : the type of the record that the core emits: a dataclass
    name : what the contract calls it; also the name of its schema
    event_type : CloudEvents type, with the version
    topic : the setting of ``kafka.topics`` that names its topic, and the name of its channel in the contract
    default_topic : the default of that setting
    key : the key of a message
    key_description : what the key consists of, for the contract
    event_id : CloudEvents id: one per content, so that a message sent again has the same one
    event_time : the field with the event time, which is also the age that retention goes by; None: it has no time
    headers : further headers by name, with how to get their value from a record
    body : the value of a message
    summary : what the value is, for the contract, where it is not JSON
    prepare : what a record becomes before it is stored and published
    table : the table that stores it; empty: it is not stored as an output
    columns : attributes of the record that are columns, in order; empty: ``key`` and then every field
    is_keyed : one row per ``key``, a later record replaces an earlier one; False: rows are numbered and never replaced
    newest_by : the column that must not be lower than the stored one for a record to replace it; None: always replaces
    indexes : columns of each index, by its name
    """

    record: type[R]
    name: str
    event_type: str
    topic: str
    default_topic: str
    key: Callable[[R], bytes] = _key_bytes
    key_description: str = ""
    event_id: Callable[[R], str] = _key
    event_time: str | None
    headers: Mapping[str, Callable[[R], str]] = field(default_factory=dict)
    body: Callable[[R], Body] = json_body
    summary: str = ""
    prepare: Callable[[R], R] = _unchanged
    table: str = ""
    columns: tuple[str, ...] = ()
    is_keyed: bool = True
    newest_by: str | None = None
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        """Whether the value of its messages is JSON, which has a schema."""
        return self.body is json_body


def with_bytes(rejected: Rejected) -> Rejected:
    """The same dead letter; instead of an event it holds the bytes of the event, so that they can be sent again."""
    event = rejected.event
    if event is None:
        return rejected
    value = encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")
    return replace(rejected, value=value, headers=(("content-type", b"application/msgpack"),), event=None)


def _original(rejected: Rejected) -> Body:
    """The original value; the original headers get the prefix ``original-``."""
    content_type = dict(rejected.headers).get("content-type", b"application/octet-stream")
    headers = ((f"original-{name}", value) for name, value in rejected.headers)
    return Body(rejected.value or b"", (*headers, ("content-type", content_type)))


def _position_and_content(rejected: Rejected) -> str:
    shown = rejected.reason, rejected.detail, rejected.key, rejected.value, rejected.headers
    content = hashlib.blake2b(repr(shown).encode(), digest_size=6)
    return f"{rejected.topic}/{rejected.partition}/{rejected.offset}/{content.hexdigest()}"


def _key_and_revision(record: Estimate | SliceEstimates | Acquisition) -> str:
    return f"{record.key}@{record.revision}"


def _key_and_number(prediction: Prediction) -> str:
    return f"{prediction.key}@{prediction.number}"


_KINDS: tuple[OutputKind[Any], ...] = (
    OutputKind(
        record=Estimate,
        name="estimate",
        event_type="driftgauge.estimate.updated.v1",
        topic="estimates",
        default_topic="driftgauge.estimates",
        key_description="domain/fingerprint/window end",
        event_id=_key_and_revision,
        event_time="window_end",
        table="estimates",
        newest_by="revision",
        indexes={
            "estimates_by_domain": ("domain", "fingerprint", "window_end"),
            "estimates_by_end": ("window_end",),
        },
    ),
    OutputKind(
        record=SliceEstimates,
        name="slice_estimates",
        event_type="driftgauge.slice_estimates.updated.v1",
        topic="slice_estimates",
        default_topic="driftgauge.slice-estimates",
        key_description="domain/fingerprint/window end",
        event_id=_key_and_revision,
        event_time="window_end",
        table="slice_estimates",
        newest_by="revision",
        indexes={"slice_estimates_by_end": ("window_end",)},
    ),
    OutputKind(
        record=Alert,
        name="alert",
        event_type="driftgauge.alert.changed.v2",
        topic="alerts",
        default_topic="driftgauge.alerts",
        key_description="domain/kind/number",
        event_time="event_time",
        table="alerts",
        indexes={"alerts_by_time": ("event_time",), "alerts_by_number": ("number",)},
    ),
    OutputKind(
        record=Acquisition,
        name="priorities",
        event_type="driftgauge.acquisition.list.created.v2",
        topic="priorities",
        default_topic="driftgauge.priorities",
        key_description="window end",
        event_id=_key_and_revision,
        event_time="event_time",
        table="acquisitions",
        columns=("key", "event_time", "revision", "priorities"),  # the order in stores that exist
        newest_by="revision",
        indexes={"acquisitions_by_time": ("event_time",)},
    ),
    OutputKind(
        record=LabelList,
        name="label_list",
        event_type="driftgauge.label_list.created.v1",
        topic="label_lists",
        default_topic="driftgauge.label-lists",
        key_description="domain/fingerprint/end of the period",
        event_time="period_end",
        table="label_lists",
        indexes={
            "label_lists_by_series": ("domain", "fingerprint", "period_end"),
            "label_lists_by_end": ("period_end",),
        },
    ),
    OutputKind(
        record=WeakSegments,
        name="weak_segments",
        event_type="driftgauge.weak_segments.found.v1",
        topic="weak_segments",
        default_topic="driftgauge.weak-segments",
        key_description="end of the period",
        event_time="event_time",
        table="weak_segments",
        indexes={"weak_segments_by_time": ("event_time",)},
    ),
    OutputKind(  # not stored: the row of the response holds it
        record=Prediction,
        name="prediction",
        event_type="driftgauge.prediction.made.v1",
        topic="predictions",
        default_topic="driftgauge.predictions",
        key_description="the response id",
        event_id=_key_and_number,
        event_time="event_time",
    ),
    OutputKind(
        record=ReportWritten,
        name="report",
        event_type="driftgauge.report.written.v1",
        topic="reports",
        default_topic="driftgauge.reports",
        key_description="start/end of the period",
        event_time="period_end",
        table="reports",
        indexes={"reports_by_end": ("period_end",)},
    ),
    OutputKind(
        record=Rejected,
        name="dead_letter",
        event_type="driftgauge.dead_letter.recorded.v1",
        topic="dead_letters",
        default_topic="driftgauge.dead-letters",
        key=lambda rejected: rejected.key or b"",
        event_id=_position_and_content,
        event_time=None,
        headers={
            "driftgauge-reason": lambda rejected: rejected.reason,
            "driftgauge-detail": lambda rejected: rejected.detail,
            "driftgauge-topic": lambda rejected: rejected.topic,
            "driftgauge-partition": lambda rejected: str(rejected.partition),
            "driftgauge-offset": lambda rejected: str(rejected.offset),
        },
        body=_original,
        summary="The record as it came, key and value; its own headers are named original-…",
        prepare=with_bytes,
        table="dead_letters",
        columns=("reason", "detail", "topic", "partition", "offset", "size_bytes", "headers", "key", "value"),
        is_keyed=False,
    ),
)

OUTPUT_KINDS: dict[type[Any], OutputKind[Any]] = {kind.record: kind for kind in _KINDS}
"""Every kind of output, by the type of its record."""


def stored_kinds() -> Iterator[OutputKind[Any]]:
    """The kinds that have a table."""
    return (kind for kind in OUTPUT_KINDS.values() if kind.table)
