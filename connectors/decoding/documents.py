"""Bytes to payloads: one document or several (an array, lines, a stream of server-sent events), each of any format.

This is the only module that looks at the keys of a document. Bad bytes raise `PayloadError` or a `msgspec` error, and
no other exception except `RecursionError`: the interpreter bounds the nesting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from driftgauge.connectors.decoding.formats.own import OwnEvent
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError
from driftgauge.connectors.decoding.formats.table import FORMATS, NAMES, Format, detect, format_named

Reading: TypeAlias = Payload | OwnEvent

DONE = b"[DONE]"
"""The document that ends a stream of server-sent events."""

_MARK_WITHIN_BYTES = 512
_SSE_FIELDS = (b"data", b"event", b"id", b"retry")
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    wire: msgspec.json.Decoder(wire) for format_ in FORMATS for wire in (format_.wire, format_.quick) if wire
}
_KEYS = msgspec.json.Decoder(dict[str, Raw])
_ELEMENTS = msgspec.json.Decoder(list[Raw])


def read_payloads(value: bytes, format_name: str = "auto") -> list[Reading]:
    r"""Read everything these bytes hold.

    >>> [payload.model for payload in read_payloads(b'data: {"choices": [], "model": "m"}' + b"\n\ndata: [DONE]")]
    ['m']
    """
    return [
        found for document in documents(value) if document != DONE for found in read_document(document, format_name)[1]
    ]


def read_document(document: bytes, format_name: str = "auto") -> tuple[str, list[Reading]]:
    """The format name of one JSON document, and its contents; a gateway's record or an envelope may hold several."""
    if format_name != "auto":
        return format_name, _read_as(format_named(format_name), document)
    for format_ in _QUICK:
        if document.find(format_.mark, 0, _MARK_WITHIN_BYTES) >= 0:
            try:
                return format_.name, [format_.read(_DECODERS[format_.quick].decode(document))]
            except msgspec.ValidationError:
                continue  # not the usual case: its keys decide
    keys = _KEYS.decode(document)
    _refuse_errors(keys)
    detected = detect(keys)
    if detected is None:
        raise PayloadError("unknown_format", f"no format has these keys; known formats are {', '.join(NAMES)}")
    return detected.name, _read(detected, document)


def format_of(value: bytes, format_name: str = "auto") -> str | None:
    """The format name of the first document whose format is known; None where there is none."""
    if format_name != "auto":
        return format_named(format_name).name
    try:
        detected = (detect(_KEYS.decode(document)) for document in documents(value) if document != DONE)
        return next((format_.name for format_ in detected if format_), None)
    except (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_QUICK = tuple(format_ for format_ in FORMATS if format_.quick)


def _read_as(format_: Format, document: bytes) -> list[Reading]:
    try:
        found = _read(format_, document)
        if any(_has_tokens(reading) for reading in found):
            return found
    except msgspec.ValidationError:
        found = []
    keys = _KEYS.decode(document)
    _refuse_errors(keys)
    detected = detect(keys)
    if detected is not None and detected.wraps and detected is not format_:
        return _read(detected, document, inside=format_.name)
    if detected is not None and detected.name != format_.name:
        raise PayloadError("wrong_format", f"the keys are those of {detected.name}, not of {format_.name}")
    return found or _read(format_, document)


def _has_tokens(reading: Reading) -> bool:
    return not isinstance(reading, Payload) or any(piece.tokens for piece in reading.pieces)


def _read(format_: Format, document: bytes, inside: str = "auto") -> list[Reading]:
    """Read the document; ``inside`` names the format of the contents of an envelope."""
    parsed = _DECODERS[format_.wire].decode(document)
    if format_.wraps:
        return list(format_.read(parsed, lambda data: read_payloads(bytes(data), inside)))
    return [format_.read(parsed)]


def _refuse_errors(keys: dict[str, Raw]) -> None:
    fields = {name: bytes(keys[name]) for name in ("error", "type", "object") if name in keys}
    if fields.get("error", b"null") not in (b"null", b'""', b"false") or b'"error"' in fields.values():
        raise PayloadError("error_response", "the server answered with an error")


def documents(value: bytes) -> list[bytes]:
    """The JSON documents in these bytes, in order, and `DONE` where a stream marks its end."""
    value = value.removeprefix(b"\xef\xbb\xbf").strip()
    if value[:1] == b"{":
        return _lines(value) if b"\n" in value and _is_document(value.partition(b"\n")[0]) else [value]
    if value == DONE:
        return [DONE]
    if value[:1] == b"[":
        return [bytes(element) for element in _ELEMENTS.decode(value)]
    if value[:1] == b":" or value.partition(b":")[0].strip() in _SSE_FIELDS:
        return _without_duplicates(list(_server_sent(value)))
    raise PayloadError("malformed", "neither a JSON object, an array, lines of them, nor server-sent events")


def _is_document(line: bytes) -> bool:
    try:
        _KEYS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _lines(value: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, value.splitlines()) if line]


def _server_sent(value: bytes) -> Iterator[bytes]:
    """The data of each server-sent event: its ``data`` lines up to a blank line, the space after the colon optional."""
    data: list[bytes] = []
    for line in (*value.splitlines(), b""):
        name, _, rest = line.partition(b":")
        if name == b"data":
            data.append(rest.removeprefix(b" "))
        elif not line.strip() and data:
            yield from _documents_of_event(data)
            data = []


def _documents_of_event(data: list[bytes]) -> Iterator[bytes]:
    """One document; several where the blank lines between events are missing."""
    if len(data) > 1 and all(line.strip() == DONE or _is_document(line) for line in data):
        yield from (line.strip() for line in data)
    elif joined := b"\n".join(data).strip():
        yield joined


def _without_duplicates(found: list[bytes]) -> list[bytes]:
    """Each event once where every event was sent twice in a row."""
    events = [document for document in found if document != DONE]
    if len(events) > 2 and len(events) % 2 == 0 and events[::2] == events[1::2]:
        return [*events[::2], *found[len(events) :][:1]]
    return found
