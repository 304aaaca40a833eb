"""Records to events: which encoding, which format, and what happens to what is neither.

Owns the dispatch. Every bad record becomes exactly one `Rejected`, with its bytes, its position and a reason; nothing
raises on data. Of a record that holds many documents the good ones become events all the same. Bounded by `Limits`.
The encoding comes from the header ``content-type`` or from configuration and is never guessed from the bytes; the
format is told by the keys found, or pinned by setting, topic or content type (``application/json; format=tgi``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import msgspec

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.documents import DONE, Reading, documents, read_document
from driftgauge.connectors.decoding.event_maker import EventMaker, Limits, Place
from driftgauge.connectors.decoding.formats import cloudevents, own
from driftgauge.connectors.decoding.formats.own import Encoding
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError
from driftgauge.connectors.decoding.normalise import normalise
from driftgauge.models.events import Chunk, Event, Generation, Rejected, Signal

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
        """Events of all records; a tombstone gives none, a bad record one `Rejected`."""
        return self.decode_counted(records)[0]

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """The same, and how many of the events came of each record."""
        found = [self._events_in(record) for record in records]
        events = _with_normal_signals([event for of_one in found for event in of_one])
        return events, [len(of_one) for of_one in found]

    def _events_in(self, record: Record) -> list[Event]:
        value = record.value
        if record.problem:
            return [rejected(record, PayloadError("batch_too_large", record.problem))]
        if value is None:
            return []
        events: list[Event] = []
        problems: list[PayloadError] = []
        found: list[bytes] = []
        try:
            how = self._how(record)
            found = self._documents(value, how)
            is_stream = value.lstrip()[:1] not in (b"{", b"[") and how.encoding == "json"
            place = Place(record, len(found) - found.count(DONE), is_stream)
        except _ERRORS as error:
            return [rejected(record, _problem(error))]
        for place.document, document in enumerate(found):
            try:
                events += self._of_document(document, how, place)
            except _ERRORS as error:
                problems.append(_problem(error))
        if problems:
            events.append(rejected(record, problems[0], f" ({len(problems)} of {len(found)})" if found[1:] else ""))
        return events

    def _how(self, record: Record) -> _How:
        """What headers and settings say about the record."""
        encoding, format_name = self.encoding, self.topic_formats.get(record.topic, self.format)
        for name, content in record.headers:
            if name.lower() == "content-type":
                encoding, format_name = _content_type(content.decode("latin-1"), format_name)
        return _How(encoding, format_name, cloudevents.attributes_in(record.headers), _domain_in(record.headers))

    def _documents(self, value: bytes, how: _How) -> list[bytes]:
        if len(value) > self.limits.max_bytes:
            raise PayloadError("too_large", f"{len(value)} bytes; the bound is {self.limits.max_bytes}")
        if how.attributes is not None and (not value or cloudevents.is_request(how.attributes)):
            return []
        return [value] if how.encoding == "msgpack" else documents(value)

    def _of_document(self, document: bytes, how: _How, place: Place) -> list[Event]:
        if document == DONE:
            return list(self.maker.end(place))
        events: list[Event] = []
        for reading in self._read(document, how):
            if isinstance(reading, Payload):
                reading.domain = reading.domain or how.domain
                events += self.maker.events(reading, place)
            else:
                events.append(self._own(reading))
        return events

    def _read(self, document: bytes, how: _How) -> list[Reading]:
        def read(data: bytes) -> list[Reading]:
            if how.encoding == "msgpack":
                return [own.parse(data, "msgpack")]
            return read_document(data, how.format_name)[1]

        return read(document) if how.attributes is None else cloudevents.put_into(how.attributes, read, document)

    def _own(self, parsed: own.OwnEvent) -> Event:
        event = own.to_event(parsed, default_domain=self.default_domain, keep_text=self.keep_text)
        piece = event.piece if isinstance(event, Chunk) else event
        if isinstance(piece, Generation):
            top = piece.signal.top_logprobs
            self.limits.check(piece.signal.n_tokens, 0 if top is None else top.shape[1])
        return event


class _How(NamedTuple):
    """How one record is to be read."""

    encoding: Encoding
    format_name: str
    attributes: cloudevents.Attributes | None
    domain: str | None


@lru_cache(maxsize=256)
def _content_type(value: str, format_name: str) -> tuple[Encoding, str]:
    """Encoding and format that a content type names."""
    kind, *parameters = (part.strip() for part in value.split(";"))
    named = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    format_name = named.get("format", format_name).strip('"')
    encoding = CONTENT_TYPES.get("application/json" if kind.lower().endswith("+json") else kind.lower())
    if encoding is None:
        raise PayloadError("unknown_content_type", "content-type is neither JSON nor MessagePack")
    return encoding, format_name


def _domain_in(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The domain named by a header ``driftgauge-domain``."""
    found = (value.decode("utf-8", "replace") for name, value in headers if name.lower() == "driftgauge-domain")
    return next(found, "")[:256] or None


def _problem(error: Exception) -> PayloadError:
    """What is wrong with a record, in words that do not quote it."""
    if isinstance(error, PayloadError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return PayloadError("invalid_value", _without_values(str(error)))
    if isinstance(error, RecursionError):
        return PayloadError("malformed", "nested too deeply")
    return PayloadError("malformed", "not a complete document in its encoding")


def _without_values(text: str) -> str:
    """A validation error without what the payload says: it is for logs and dead letters."""
    return re.sub(r"'[^']*'", "…", text)[:200]


def _with_normal_signals(events: Sequence[Event]) -> list[Event]:
    """The same events with their signals normalised, all together."""
    pieces = [event.piece if isinstance(event, Chunk) else event for event in events if isinstance(event, _WITH_SIGNAL)]
    signals = iter(normalise([piece.signal for piece in pieces]))
    return [_with_signal(event, next(signals)) if isinstance(event, _WITH_SIGNAL) else event for event in events]


def _with_signal(event: Generation | Chunk, signal: Signal) -> Event:
    if isinstance(event, Chunk):
        return replace(event, piece=event.piece.with_signal(signal))
    return event.with_signal(signal)


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
