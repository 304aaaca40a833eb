"""Records to events: the decoder chooses the encoding and the format, and rejects what it cannot read.

Every bad record becomes exactly one `Rejected`, with its bytes, its position and a reason; no data raises an exception.
The good documents of a record become events even where others of the same record are rejected. `Limits` bounds the
work. The header ``content-type`` or the configuration names the encoding; it is never guessed from the bytes. The keys
of a document determine its format, unless a setting, the topic or the content type (``application/json; format=tgi``)
names one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.documents import DONE, Reading, documents, read_document
from driftgauge.connectors.decoding.event_maker import EventMaker, Limits, Place
from driftgauge.connectors.decoding.formats import cloudevents, own
from driftgauge.connectors.decoding.formats.own import Encoding
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError
from driftgauge.connectors.decoding.normalise import normalise
from driftgauge.models.events import Chunk, Event, Generation, Origin, Rejected, Signal

CONTENT_TYPES: Mapping[str, Encoding] = {
    "application/json": "json",
    "application/x-ndjson": "json",
    "text/event-stream": "json",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
}
_WITH_SIGNAL = (Generation, Chunk)
_ERRORS = (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Decoder:
    """Turns records into events, in order.

    Examples
    --------
    >>> bad = Record("generations", 0, 7, None, b"{")
    >>> [event.reason for event in Decoder().decode([bad])]
    ['malformed']
    """

    def __init__(
        self,
        *,
        format: str = "auto",  # noqa: A002 - the setting's name
        encoding: Encoding = "json",
        topic_formats: Mapping[str, str] | None = None,
        default_domain: str = "default",
        keep_text: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.format = format
        self.encoding: Encoding = encoding
        self.topic_formats = topic_formats or {}
        self.default_domain = default_domain
        self.keep_text = keep_text
        self.limits = limits or Limits()
        self.maker = EventMaker(default_domain=default_domain, keep_text=keep_text, limits=self.limits)

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """Return the events of all records: a tombstone gives none, a bad record one `Rejected`."""
        return self.decode_counted(records)[0]

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """Return the events of all records, and the number of events of each record."""
        per_record = [self._events_of(record) for record in records]
        origins = chain.from_iterable(map(_origins, records, per_record))
        events = _normalised([event for events in per_record for event in events], origins)
        return events, [len(events) for events in per_record]

    def _events_of(self, record: Record) -> list[Event]:
        value = record.value
        if record.problem:
            return [rejected(record, PayloadError("batch_too_large", record.problem))]
        if value is None:
            return []
        events: list[Event] = []
        problems: list[PayloadError] = []
        found: list[bytes] = []
        try:
            wire = self._wire(record)
            found = self._documents(value, wire)
            is_stream = value.lstrip()[:1] not in (b"{", b"[") and wire.encoding == "json"
            place = Place(record, len(found) - found.count(DONE), is_stream)
        except _ERRORS as error:
            return [rejected(record, _payload_error(error))]
        for place.document, document in enumerate(found):
            try:
                events += self._events_of_document(document, wire, place)
            except _ERRORS as error:
                problems.append(_payload_error(error))
        if problems:
            events.append(rejected(record, problems[0], f" ({len(problems)} of {len(found)})" if found[1:] else ""))
        return events

    def _wire(self, record: Record) -> _Wire:
        """How this record is to be read, by its headers and the settings."""
        encoding, format_name = self.encoding, self.topic_formats.get(record.topic, self.format)
        for name, content in record.headers:
            if name.lower() == "content-type":
                encoding, format_name = _content_type(content.decode("latin-1"), format_name)
        return _Wire(encoding, format_name, cloudevents.attributes_in(record.headers), _domain_in(record.headers))

    def _documents(self, value: bytes, wire: _Wire) -> list[bytes]:
        if len(value) > self.limits.max_bytes:
            raise PayloadError("too_large", f"{len(value)} bytes; the bound is {self.limits.max_bytes}")
        if wire.attributes is not None and (not value or cloudevents.is_request(wire.attributes)):
            return []
        return [value] if wire.encoding == "msgpack" else documents(value)

    def _events_of_document(self, document: bytes, wire: _Wire, place: Place) -> list[Event]:
        if document == DONE:
            return list(self.maker.end(place))
        events: list[Event] = []
        for reading in self._read(document, wire):
            if isinstance(reading, Payload):
                reading.domain = reading.domain or wire.domain
                events += self.maker.events(reading, place)
            else:
                events.append(self._own(reading))
        return events

    def _read(self, document: bytes, wire: _Wire) -> list[Reading]:
        def read(data: bytes) -> list[Reading]:
            if wire.encoding == "msgpack":
                return [own.parse(data, "msgpack")]
            return read_document(data, wire.format_name)[1]

        return read(document) if wire.attributes is None else cloudevents.unwrap(wire.attributes, read, document)

    def _own(self, parsed: own.OwnEvent) -> Event:
        event = own.to_event(parsed, default_domain=self.default_domain, keep_text=self.keep_text)
        piece = event.piece if isinstance(event, Chunk) else event
        if isinstance(piece, Generation):
            top = piece.signal.top_logprobs
            self.limits.check(piece.signal.n_tokens, 0 if top is None else top.shape[1])
        return event


class _Wire(NamedTuple):
    """How one record is to be read."""

    encoding: Encoding
    format_name: str
    attributes: cloudevents.Attributes | None
    domain: str | None


@lru_cache(maxsize=256)
def _content_type(value: str, format_name: str) -> tuple[Encoding, str]:
    """The encoding and the format that a content type names."""
    kind, *parameters = (part.strip() for part in value.split(";"))
    named = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    format_name = named.get("format", format_name).strip('"')
    encoding = CONTENT_TYPES.get("application/json" if kind.lower().endswith("+json") else kind.lower())
    if encoding is None:
        raise PayloadError("unknown_content_type", "content-type is neither JSON nor MessagePack")
    return encoding, format_name


def _domain_in(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The domain in the header ``driftgauge-domain``."""
    found = (value.decode("utf-8", "replace") for name, value in headers if name.lower() == "driftgauge-domain")
    return next(found, "")[:256] or None


def _payload_error(error: Exception) -> PayloadError:
    """The error as a `PayloadError`, whose text never quotes the payload."""
    if isinstance(error, PayloadError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return PayloadError("invalid_value", _without_values(str(error)))
    if isinstance(error, RecursionError):
        return PayloadError("malformed", "nested too deeply")
    return PayloadError("malformed", "not a complete document in its encoding")


def _without_values(text: str) -> str:
    """The text of a validation error without values of the payload, for logs and dead letters."""
    return re.sub(r"'[^']*'", "…", text)[:200]


def _origins(record: Record, events: Sequence[Event]) -> list[Origin]:
    """Where the events of a record come from, one for each."""
    broker_time = record.timestamp if record.timestamp > 0 else None
    return [Origin(f"{record.topic}/{record.partition}", broker_time)] * len(events)


def _normalised(events: Sequence[Event], origins: Iterable[Origin]) -> list[Event]:
    """The same events with their origins; their signals are normalised together."""
    pieces = [event.piece if isinstance(event, Chunk) else event for event in events if isinstance(event, _WITH_SIGNAL)]
    signals = iter(normalise([piece.signal for piece in pieces]))
    return [
        _with_signal(event, next(signals), origin) if isinstance(event, _WITH_SIGNAL) else event
        for event, origin in zip(events, origins, strict=True)
    ]


def _with_signal(event: Generation | Chunk, signal: Signal, origin: Origin) -> Event:
    if isinstance(event, Chunk):
        return replace(event, piece=event.piece.with_signal(signal, origin))
    return event.with_signal(signal, origin)


def rejected(record: Record, problem: PayloadError, more: str = "") -> Rejected:
    """The dead letter of a record."""
    return Rejected(
        problem.reason,
        f"{problem}{more}",
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
    )
