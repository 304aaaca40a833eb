"""The documents of one record to what they hold: payloads and own events, the pieces of its streams joined.

A record may hold the whole stream of a response. The usual one, whose events differ only in their tokens, is read at
once; the events of any other are read one by one and joined then. Both ways give the same items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from driftgauge.connectors.decoding.documents import DONE, Reading, read_document, read_payloads, read_stream
from driftgauge.connectors.decoding.formats import cloudevents, own
from driftgauge.connectors.decoding.formats.own import Encoding
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError
from driftgauge.connectors.decoding.lookup import Path, value_at
from driftgauge.connectors.decoding.recovery import cause_of, repaired
from driftgauge.connectors.decoding.streams import join, settle

DECODING_ERRORS = (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_FEW = 3


class Item(NamedTuple):
    """One thing read from a record: its document and a payload or an own event; ``reading`` None ends a stream.

    ``number`` counts the readings of the record from 0, those that were joined to an earlier one included.
    """

    number: int
    document: bytes
    reading: Reading | None


@dataclass(slots=True)
class Contents:
    """Everything that a record holds: its items in order, and an error for each document that cannot be used."""

    items: list[Item] = field(default_factory=list)
    errors: list[PayloadError] = field(default_factory=list)
    n_readings: int = 0

    def add(self, document: bytes, reading: Reading | None) -> None:
        """Add the next item."""
        self.items.append(Item(self.n_readings, document, reading))
        self.n_readings += 1


class Wire(NamedTuple):
    """How one record is to be read.

    Attributes
    ----------
    payload_path : the field that holds the payload of a model server; empty: the document
    domain : the domain that a header names
    """

    encoding: Encoding
    format_name: str
    attributes: cloudevents.Attributes | None
    domain: str | None
    payload_path: Path = ()


def contents_of(found: Sequence[bytes], wire: Wire, *, is_stream: bool, joins: bool) -> Contents:
    """Everything that these documents hold.

    Parameters
    ----------
    is_stream : they are server-sent events, not documents that happen to share a record
    joins : the pieces of a choice become one piece
    """
    contents, start = Contents(), 0
    for stop in (*(place for place, document in enumerate(found) if document == DONE), len(found)):
        stream, n_before = found[start:stop], len(contents.items)
        if not (joins and _read_at_once(stream, wire, contents)):
            _read_one_by_one(stream, wire, contents)
        if len(contents.items) - n_before > 1:
            _settle(contents, n_before, is_stream=is_stream, joins=joins)
        if stop < len(found):
            contents.add(DONE, None)
        start = stop + 1
    return contents


def _read_at_once(stream: Sequence[bytes], wire: Wire, contents: Contents) -> bool:
    """Read a usual stream; returns whether it is one."""
    if len(stream) < _FEW or wire.encoding == "msgpack" or wire.attributes is not None or wire.payload_path:
        return False
    try:
        found = read_stream(stream, wire.format_name)
    except DECODING_ERRORS:
        return False
    contents.items += [Item(contents.n_readings + place, stream[place], reading) for place, reading in found]
    contents.n_readings += len(stream) if found else 0
    return bool(found)


def _read_one_by_one(stream: Sequence[bytes], wire: Wire, contents: Contents) -> None:
    """Read every document; one that is not strict JSON is repaired where that is safe."""
    for document in stream:
        try:
            _add(document, _read(document, wire), contents)
        except DECODING_ERRORS as error:
            strict = _repaired(document, error, wire)
            if not strict:
                contents.errors.append(payload_error(error, document))
            for repaired_one, n_literals in strict:
                try:
                    _add(repaired_one, _noted(_read(repaired_one, wire), n_literals), contents)
                except DECODING_ERRORS as again:
                    contents.errors.append(payload_error(again, repaired_one))


def _add(document: bytes, readings: Iterable[Reading], contents: Contents) -> None:
    for reading in readings:
        contents.add(document, reading)


def _read(document: bytes, wire: Wire) -> list[Reading]:
    def read(data: bytes) -> list[Reading]:
        if wire.encoding == "msgpack":
            return [own.parse(data, "msgpack")]
        if wire.payload_path and (inner := value_at(data, wire.payload_path)) is not None:
            data = inner.encode() if isinstance(inner, str) else msgspec.json.encode(inner)
            return read_payloads(data, wire.format_name)
        return read_document(data, wire.format_name)[1]

    return read(document) if wire.attributes is None else cloudevents.unwrap(wire.attributes, read, document)


def _settle(contents: Contents, start: int, *, is_stream: bool, joins: bool) -> None:
    """Put the stream right that begins at this item, and join its pieces."""
    payloads = [item.reading for item in contents.items[start:] if isinstance(item.reading, Payload)]
    contents.errors += settle(payloads, is_stream=is_stream)
    if joins and (joined := {id(payload) for payload in join(payloads)}):
        contents.items[start:] = [item for item in contents.items[start:] if id(item.reading) not in joined]


def _repaired(document: bytes, error: Exception, wire: Wire) -> list[tuple[bytes, int]]:
    """The strict documents in one that is not; none where repairing it changes nothing."""
    is_syntax = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
    if wire.encoding == "msgpack" or not (is_syntax or "out of range" in str(error)):
        return []
    strict = repaired(document)
    return [] if strict == [(document, 0)] else strict


def _noted(readings: list[Reading], n_literals: int) -> list[Reading]:
    for reading in readings:
        if n_literals and isinstance(reading, own.LabelEvent) and reading.correct is None:
            raise PayloadError("invalid_value", "correct is NaN or infinite; null would withdraw a label")
        if n_literals and isinstance(reading, Payload):
            reading.problems["nan_literal"] = n_literals
    return readings


def payload_error(error: Exception, document: bytes, encoding: Encoding = "json") -> PayloadError:
    """The error as a `PayloadError`, whose text never quotes the payload."""
    if isinstance(error, PayloadError):
        return error
    if encoding == "msgpack" and document[:1] in (b"{", b"["):  # numbers in MessagePack, so no event begins like that
        return PayloadError("malformed", "it looks like JSON, not like MessagePack")
    if isinstance(error, msgspec.ValidationError):
        return PayloadError("invalid_value", _without_values(str(error)))
    if isinstance(error, RecursionError):
        return PayloadError("malformed", "nested too deeply")
    return PayloadError("malformed", "not MessagePack" if encoding == "msgpack" else cause_of(document))


def _without_values(text: str) -> str:
    """The text of a validation error without values of the payload, for logs and dead letters."""
    return re.sub(r"'[^']*'", "…", text)[:200]
