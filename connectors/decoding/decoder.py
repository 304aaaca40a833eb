"""Records to events: the decoder chooses the encoding and the format, and rejects what it cannot read.

Every bad record becomes exactly one `Rejected`, with its bytes, its position and a reason; no data raises an exception.
The good documents of a record become events even where others of the same record are rejected. `Limits` bounds the
work. The header ``content-type`` or the configuration names the encoding; it is never guessed from the bytes. The keys
of a document determine its format, unless a setting, the topic or the content type (``application/json; format=tgi``)
names one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import TypeAlias, TypeGuard

from msgspec import structs

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.documents import DONE, documents
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.event_maker import EventMaker, Limits
from driftgauge.connectors.decoding.formats import cloudevents, extracted, own
from driftgauge.connectors.decoding.formats.own import Encoding
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError, is_answer
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.lookup import Sources, path_of, unquoted
from driftgauge.connectors.decoding.names import name_of
from driftgauge.connectors.decoding.naming import NameRules, Place, ids_of_record
from driftgauge.connectors.decoding.normalise import normalise
from driftgauge.connectors.decoding.reader import DECODING_ERRORS, Item, Wire, contents_of, payload_error
from driftgauge.models.events import NO_ORIGIN, Chunk, Event, Generation, Label, Origin, Rejected, Signal
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec
from driftgauge.models.topic_scale import OUT_OF_SCALE

CONTENT_TYPES: Mapping[str, Encoding] = {
    "application/json": "json",
    "application/x-ndjson": "json",
    "text/event-stream": "json",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
}
_ALSO_JSON = frozenset(
    {"text/json", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines"}
)

Found: TypeAlias = tuple[list[Event], list[PayloadError], int]
"""Events of a record, what was wrong with some of its documents, and how many documents there are."""


class Decoder:
    """Turns records into events, in order.

    Parameters
    ----------
    embeddings : where embeddings come from; None: they are not kept
    payload_path : the field that holds the payload of a model server, as in ``response.body``; empty: the document
    ignored_content_types : values of the header that are passed over, so that ``encoding`` holds
    names : where domain, slices, model revision and ids come from
    features_topic : the topic that ``driftgauge extract`` writes, the only one whose records may be its events: they
        move the positions of raw partitions. Empty: none
    features_anywhere : records of every topic may be such events, and move no positions: for files
    features : which features the responses of that topic must have

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
        embeddings: EmbeddingRules | None = None,
        payload_path: str = "",
        ignored_content_types: Sequence[str] = (),
        names: NameRules | None = None,
        label_scale: LabelScale | None = None,
        limits: Limits | None = None,
        features_topic: str = "",
        features_anywhere: bool = False,
        features: FeatureSpec = DEFAULT_SPEC,
    ) -> None:
        self.format = format
        self.encoding: Encoding = encoding
        self.topic_formats = topic_formats or {}
        self.default_domain = default_domain
        self.keep_text = keep_text
        self.embeddings = embeddings
        self.payload_path = path_of(payload_path)[1:] if payload_path else ()
        self.ignored_content_types = frozenset(kind.strip().lower() for kind in ignored_content_types)
        self.names = names or NameRules()
        self.label_scale = label_scale or LabelScale()
        self.limits = limits or Limits()
        self.features_topic = features_topic
        self.features_anywhere = features_anywhere
        self.features = features
        self.maker = EventMaker(
            default_domain=default_domain, keep_text=keep_text, limits=self.limits, names=self.names
        )

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """Return the events of all records: a tombstone gives none, a bad record one `Rejected`."""
        return self.decode_counted(records)[0]

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """Return the events of all records, and the number of events of each record."""
        per_record = [_with_rejection(record, self._found_in(record)) for record in records]
        origins = chain.from_iterable(map(_origins, records, per_record))
        events = _normalised([event for events in per_record for event in events], origins)
        return events, [len(events) for events in per_record]

    def decode_fully(self, record: Record) -> tuple[list[Event], list[PayloadError]]:
        """Return the events of one record, and an error for each of its documents that gave none."""
        events, errors, _ = self._found_in(record)
        return _normalised(events, _origins(record, events)), errors

    def read(self, record: Record) -> tuple[list[Event], list[PayloadError]]:
        """The same as `decode_fully`, with the signals as they came: to be encoded again, not to be used."""
        return self._found_in(record)[:2]

    def _found_in(self, record: Record) -> Found:
        value = record.value
        if record.problem:
            return [], [PayloadError("batch_too_large", record.problem)], 1
        if value is None:
            return [], [], 0
        encoding = self.encoding
        try:
            if self._is_extracted(record):
                encoding = "json" if value[:1] == b"{" else "msgpack"
                return self._extracted(value), [], 1
            wire = self._wire(record)
            encoding = wire.encoding
            found = self._documents(value, wire)
            if wire.encoding == "msgpack" and wire.attributes is None:
                return [self._own(own.parse(value, "msgpack"), value, wire, record)], [], 1
        except DECODING_ERRORS as error:
            return [], [payload_error(error, value, encoding)], 1
        is_stream = value.lstrip()[:1] not in (b"{", b"[") and wire.encoding == "json"
        contents = contents_of(found, wire, is_stream=is_stream, joins=self.names.joins)
        place = Place(record, contents.n_readings - found.count(DONE), is_stream)
        events: list[Event] = []
        for item in contents.items:
            place.document = item.number
            try:
                events += self._events_of(item, wire, place)
            except DECODING_ERRORS as error:
                contents.errors.append(payload_error(error, item.document))
        return events, contents.errors + place.errors, max(len(found), contents.n_readings)

    def head_of(self, record: Record) -> extracted.Head | None:
        """The raw record that ``driftgauge extract`` made this one of; None where it did not."""
        is_from_there = record.topic == self.features_topic and self._is_extracted(record)
        return extracted.head_of(record.value) if record.value is not None and is_from_there else None

    def _is_extracted(self, record: Record) -> bool:
        may_be = record.topic == self.features_topic or self.features_anywhere
        return may_be and record.value is not None and extracted.is_extracted(record.value)

    def _extracted(self, value: bytes) -> list[Event]:
        """The events of a record that ``driftgauge extract`` decoded; nothing of them is decided again."""
        self._check_size(value)
        return extracted.events_of(
            value, self.features, keep_text=self.keep_text, keep_embedding=self.embeddings is not None
        )

    def _wire(self, record: Record) -> Wire:
        """How this record is to be read, by its headers and the settings."""
        encoding, format_name = self.encoding, self.topic_formats.get(record.topic, self.format)
        for name, content in record.headers:
            if name.lower() == "content-type":
                declared, format_name = _content_type(content, format_name, self.ignored_content_types)
                encoding = declared or encoding
        attributes = cloudevents.attributes_in(record.headers)
        return Wire(encoding, format_name, attributes, _domain_in(record.headers), self.payload_path)

    def _documents(self, value: bytes, wire: Wire) -> list[bytes]:
        self._check_size(value)
        if wire.attributes is not None and (not value or cloudevents.is_request(wire.attributes)):
            return []
        return [value] if wire.encoding == "msgpack" else documents(value)

    def _check_size(self, value: bytes) -> None:
        if len(value) > self.limits.max_bytes:
            raise PayloadError("too_large", f"{len(value)} bytes; the bound is {self.limits.max_bytes}")

    def _events_of(self, item: Item, wire: Wire, place: Place) -> list[Event]:
        reading = item.reading
        if reading is None:
            return list(self.maker.end(place))
        if isinstance(reading, Payload):
            reading.domain = reading.domain or wire.domain
            made = self.maker.events(reading, place, item.document)
            if self.embeddings is None:
                return [*made]
            sources = Sources(place.record, tuple(dict.fromkeys((*reading.documents, item.document))))
            return [_embedded(event, self.embeddings, sources) for event in made]
        return [self._own(reading, item.document, wire, place.record)]

    def _own(self, parsed: own.OwnEvent, document: bytes, wire: Wire, record: Record) -> Event:
        further = ids_of_record(record)
        event = own.to_event(
            parsed,
            default_domain=self.default_domain,
            keep_text=self.keep_text,
            keep_embedding=self.embeddings is not None,
            further=further,
            scale=self.label_scale,
        )
        piece = event.piece if isinstance(event, Chunk) else event
        if not isinstance(piece, Generation):
            return event
        if not is_answer(piece.finish_reason):
            raise PayloadError("error_response", f"the response ended with {piece.finish_reason}")
        top = piece.signal.top_logprobs
        self.limits.check(piece.signal.n_tokens, 0 if top is None else top.shape[1])
        if not self.names.is_set and self.embeddings is None:
            return event
        sources = Sources(record, (document,), wire.encoding)
        if self.names.is_set:
            piece = self.maker.named(piece, sources)
            event = structs.replace(event, piece=piece) if isinstance(event, Chunk) else piece
        return event if self.embeddings is None else _embedded(event, self.embeddings, sources)


def _embedded(event: Event, rules: EmbeddingRules, sources: Sources) -> Event:
    """A response, or a piece of one, with the embedding of its prompt."""
    if isinstance(event, Chunk):
        piece = rules.embedded(event.piece, sources)
        return event if piece is event.piece else structs.replace(event, piece=piece)
    return rules.embedded(event, sources) if isinstance(event, Generation) else event


@lru_cache(maxsize=256)
def _content_type(content: bytes, format_name: str, ignored: frozenset[str]) -> tuple[Encoding | None, str]:
    """The encoding and the format that a content type names; None where it is empty or passed over."""
    value = unquoted(content.decode("latin-1"))
    kind, *parameters = (part.strip() for part in value.split(";"))
    kind = kind.lower()
    if not kind or kind in ignored:
        return None, format_name
    named = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    format_name = unquoted(named.get("format", format_name))
    encoding = CONTENT_TYPES.get("application/json" if kind.endswith("+json") or kind in _ALSO_JSON else kind)
    if encoding is None:
        advice = "decode.ignored_content_types can pass over it"
        raise PayloadError("unknown_content_type", f"content-type is neither JSON nor MessagePack; {advice}")
    return encoding, format_name


def _domain_in(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The domain in the header ``driftgauge-domain``."""
    found = (value.decode("utf-8", "replace") for name, value in headers if name.lower() == "driftgauge-domain")
    return name_of(next(found, "")) or None


def _origins(record: Record, events: Sequence[Event]) -> list[Origin]:
    """Where the events of a record come from, one for each."""
    broker_time = record.timestamp if record.timestamp > 0 else None
    return [Origin(f"{record.topic}/{record.partition}", broker_time)] * len(events)


def _normalised(events: Sequence[Event], origins: Iterable[Origin]) -> list[Event]:
    """The same events with their origins; their signals are normalised together.

    Events that have an origin already are complete: ``driftgauge extract`` made them.
    """
    found = [event for event in events if _is_raw(event)]
    pieces = [event.piece if isinstance(event, Chunk) else event for event in found]
    are_whole = [not isinstance(event, Chunk) for event in found]
    signals = iter(normalise([piece.signal for piece in pieces], are_whole))
    return [
        _with_signal(event, next(signals), origin) if _is_raw(event) else _with_origin(event, origin)
        for event, origin in zip(events, origins, strict=True)
    ]


def _is_raw(event: Event) -> TypeGuard[Generation | Chunk]:
    """Whether the event has a signal as it was sent."""
    piece = event.piece if isinstance(event, Chunk) else event
    return isinstance(piece, Generation) and piece.origin is NO_ORIGIN


def _with_origin(event: Event, origin: Origin) -> Event:
    if not isinstance(event, Label) or event.topic:
        return event
    return replace(event, topic=origin.partition.rpartition("/")[0], broker_time=origin.broker_time)


def _without_other_scales(events: list[Event], errors: list[PayloadError]) -> tuple[list[Event], list[PayloadError]]:
    """Without labels where one of the record leaves the scale: they share it. That error is then the first one."""
    others = [error for error in errors if error.reason != OUT_OF_SCALE]
    if len(others) == len(errors):
        return events, errors
    outside = [error for error in errors if error.reason == OUT_OF_SCALE]
    return [event for event in events if not isinstance(event, Label)], outside + others


def _with_signal(event: Generation | Chunk, signal: Signal, origin: Origin) -> Event:
    if isinstance(event, Chunk):
        return structs.replace(event, piece=event.piece.with_signal(signal, origin))
    return event.with_signal(signal, origin)


def _with_rejection(record: Record, found: Found) -> list[Event]:
    """The events, and one dead letter for everything that was wrong with the record."""
    events, errors, n_documents = found
    if not errors:
        return events
    events, errors = _without_other_scales(events, errors)
    first, *others = errors
    more = ""
    if n_documents > 1:
        counts = Counter(error.reason for error in others if error.reason != first.reason)
        also = ", ".join(f"{n} {reason}" for reason, n in counts.items())
        more = f" ({len(errors)} of {n_documents})" + (f"; also {also}" if also else "")
    return [*events, rejected(record, first, more)]


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
