"""Bytes to payloads: one document or several (an array, lines, a stream of server-sent events), each of any format.

This is the only module that looks at the keys of a document. Bad bytes raise `PayloadError` or a `msgspec` error, and
no other exception except `RecursionError`: the interpreter bounds the nesting.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from driftgauge.connectors.decoding.formats.own import OwnEvent
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError
from driftgauge.connectors.decoding.formats.table import FORMATS, Format, detect, first_of, format_named
from driftgauge.connectors.decoding.lookup import ROOTS
from driftgauge.connectors.decoding.recovery import (
    as_utf8,
    cause_of,
    from_base64,
    has_logprobs,
    repaired,
    text_inside,
)

Reading: TypeAlias = Payload | OwnEvent

DONE = b"[DONE]"
"""The document that ends a stream of server-sent events."""

MAX_WRAPPINGS = 4
"""Records inside records that are unwrapped."""

_MARK_WITHIN_BYTES = 512
_EVENT_MARK = b'"delta":'
_SSE_FIELDS = (b"data", b"event", b"id", b"retry")
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    wire: msgspec.json.Decoder(wire)
    for format_ in FORMATS
    for wire in (format_.wire, format_.quick, format_.event)
    if wire
}
_KEYS = msgspec.json.Decoder(dict[str, Raw])
_ELEMENTS = msgspec.json.Decoder(list[Raw])
_ERROR_KEYS = frozenset({
    "error", "error_type", "type", "message", "status", "status_code", "code", "detail", "request_id", "id", "object",
    "param", "success", "event_id", "sequence_number",
})  # fmt: skip
"""Keys of an error that a model server answers with."""


def read_payloads(value: bytes, format_name: str = "auto", depth: int = 0, where: str = "") -> list[Reading]:
    r"""Read everything these bytes hold; ``where`` is the path to them from the record, for messages.

    >>> last = b'data: {"choices": [], "model": "m", "usage": {"prompt_tokens": 1}}'
    >>> [payload.model for payload in read_payloads(last + b"\n\ndata: [DONE]")]
    ['m']
    """
    return [
        reading
        for document in documents(value)
        if document != DONE
        for reading in read_document(document, format_name, depth, where)[1]
    ]


def read_document(
    document: bytes, format_name: str = "auto", depth: int = 0, where: str = ""
) -> tuple[str, list[Reading]]:
    """The format name of one JSON document, and its contents; a gateway's record or an envelope may hold several."""
    if format_name != "auto":
        return format_name, _read_as(format_named(format_name), document, depth, where)
    for format_ in _QUICK:
        if document.find(format_.mark, 0, _MARK_WITHIN_BYTES) >= 0:
            try:
                reading = format_.read(_DECODERS[format_.quick].decode(document))
                return format_.name, _checked(format_, [reading], document)
            except msgspec.ValidationError:
                continue  # not the usual case: its keys decide
    keys = _keys(document)
    detected = detect(keys)
    if detected is not None:
        return detected.name, _read(detected, document, depth=depth, where=where)
    return _unwrapped(keys, depth, where)


def read_stream(found: Sequence[bytes], format_name: str = "auto") -> list[tuple[int, Reading]]:
    """Read the events of a usual stream of one choice at once: the first that has a choice gets the tokens of all.

    Returns readings, each with the place of its event; none where the stream is not a usual one. `read_document` and
    `streams.join` make the same of any stream, in several times the time.

    Raises `PayloadError` or a `msgspec` error where an event cannot be read.
    """
    format_ = _STREAMED if format_name == "auto" else format_named(format_name)
    if format_.stream is None or not any(_EVENT_MARK in document[:_MARK_WITHIN_BYTES] for document in found[:2]):
        return []
    decode, stream, with_choice, others = _DECODERS[format_.event].decode, None, [], []
    for place, document in enumerate(found):
        event = decode(document)
        if event.choices:
            stream = stream or format_.stream(event)
            if not stream.add(event):
                return []
            with_choice.append(place)
        else:
            others += [(place, reading) for reading in read_document(document, format_name)[1]]
    joined = stream and stream.payload()
    if joined is None or any(not isinstance(other, Payload) or other.id not in ("", joined.id) for _, other in others):
        return []
    joined.documents = tuple(found[place] for place in with_choice)
    return sorted([(with_choice[0], joined), *others], key=itemgetter(0))


def format_of(value: bytes, format_name: str = "auto") -> str | None:
    """The format name of the first document whose format is known; None where there is none."""
    if format_name != "auto":
        return format_named(format_name).name
    try:
        found = [document for document in documents(value) if document != DONE]
        strict = (one for document in found for one in _strict(document))
        return next(filter(None, map(_format_of, strict)), None)
    except (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _strict(document: bytes) -> list[bytes]:
    return [document] if _is_document(document) else [strict for strict, _ in repaired(document)]


def _format_of(document: bytes) -> str | None:
    try:
        detected = detect(_KEYS.decode(document))
        return detected.name if detected else read_document(document)[0]
    except (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_QUICK = tuple(format_ for format_ in FORMATS if format_.quick)
_STREAMED = next(format_ for format_ in FORMATS if format_.stream)


def _read_as(format_: Format, document: bytes, depth: int, where: str) -> list[Reading]:
    try:
        found = _read(format_, document, depth=depth, where=where)
        if any(_has_tokens(reading) for reading in found):
            return found
    except msgspec.ValidationError:
        found = []
    except PayloadError as error:
        if error.reason != "unknown_format":
            raise
        found = []
    keys = _keys(document)
    detected = detect(keys)
    if detected is not None and detected.wraps and detected is not format_:
        return _read(detected, document, inside=format_.name, depth=depth, where=where)
    if detected is not None and detected.name != format_.name:
        raise PayloadError("wrong_format", f"the keys are those of {detected.name}, not of {format_.name}")
    if detected is None:
        return _unwrapped(keys, depth, where)[1]
    return found or _read(format_, document, depth=depth, where=where)


def _keys(document: bytes) -> dict[str, Raw]:
    """The keys of a document; raises `PayloadError` for the error of a model server, and for what is no object."""
    try:
        keys = _KEYS.decode(document)
    except msgspec.ValidationError:
        raise PayloadError("unknown_format", "it is not a JSON object") from None
    _refuse_errors(keys)
    return keys


def _has_tokens(reading: Reading) -> bool:
    if not isinstance(reading, Payload):
        return True
    listed = [piece.tokens for piece in reading.pieces if piece.tokens]
    return any(tokens.top or any(value is not None for value in tokens.chosen) for tokens in listed)


def _read(format_: Format, document: bytes, inside: str = "auto", depth: int = 0, where: str = "") -> list[Reading]:
    """Read the document; ``inside`` names the format of the contents of an envelope."""
    parsed = _DECODERS[format_.wire].decode(document)
    if not format_.wraps:
        return _checked(format_, [_read_again(format_, format_.read(parsed), document)], document)
    if depth >= MAX_WRAPPINGS:
        raise PayloadError("malformed", f"more than {MAX_WRAPPINGS} records inside each other")
    inner = f"{where}{format_.contents}."
    return list(format_.read(parsed, lambda data: read_payloads(bytes(data), inside, depth + 1, inner)))


def _read_again(format_: Format, reading: Reading, document: bytes) -> Reading:
    """The same reading; where log-probabilities lack, what their fields hold in the usual spelling."""
    if format_.usual_spelling is None or not isinstance(reading, Payload):
        return reading
    payload, listed = reading, [piece.tokens for piece in reading.pieces]
    if all(tokens and tokens.top and any(value is not None for value in tokens.chosen) for tokens in listed):
        return payload
    if (usual := format_.usual_spelling(document)) != document:
        payload = format_.read(_DECODERS[format_.wire].decode(usual))
    if not payload.is_part and not any(piece.tokens for piece in payload.pieces) and has_logprobs(document):
        payload.problems["logprobs_not_read"] = 1
    return payload


def _checked(format_: Format, readings: list[Reading], document: bytes) -> list[Reading]:
    """The same readings; raises `PayloadError` for a whole answer in which nothing was found."""
    for reading in readings:
        if isinstance(reading, Payload):
            reading.documents = (document,)
            if not reading.is_part and not reading.has_content:
                raise PayloadError("unknown_format", f"it has keys of {format_.name}, but nothing of an answer")
    return readings


def _unwrapped(keys: dict[str, Raw], depth: int, where: str) -> tuple[str, list[Reading]]:
    """The contents of the one field of an unknown document that holds a known format as text.

    Raises `PayloadError` where there is none. It names a field that holds one as an object: that is for a setting.
    """
    found: list[tuple[str, list[Reading]]] = []
    hint = _hint(keys)
    for name, raw in keys.items() if depth < MAX_WRAPPINGS else ():
        start = first_of(raw)
        inner = text_inside(bytes(raw)) if start == '"' else None
        try:
            if inner is not None:
                found.append(read_document(inner, depth=depth + 1, where=f"{where}{name}."))
            elif not hint and name.isidentifier() and (detected := detect(_first_object(raw))):
                hint = f"; the field {_as_setting(where + name)} holds {detected.name}: name it in decode.payload"
        except (PayloadError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        hint = "; several of its fields hold known formats: name one in decode.payload"
    raise PayloadError("unknown_format", f"no known format has these keys{hint}")


def _first_object(raw: Raw) -> dict[str, Raw]:
    """The keys of an object, or of the first one in an array; none in anything else."""
    start = first_of(raw)
    if start == "[":
        raw = next((element for element in _ELEMENTS.decode(raw) if first_of(element) == "{"), raw)
    return _KEYS.decode(raw) if first_of(raw) == "{" else {}


def _as_setting(path: str) -> str:
    """The path as a setting writes it: where its first part is a name like ``payload``, the root stands before it."""
    return f"payload.{path}" if "." in path and path.partition(".")[0] in ROOTS else path


def _hint(keys: dict[str, Raw]) -> str:
    """What an unknown document looks like, where that is plain."""
    if {"type", "role", "content"} <= keys.keys() or bytes(keys.get("type", b"")).startswith(_ANTHROPIC_EVENTS):
        return "; it looks like Anthropic's, whose answers have no log-probabilities"
    if not {"messages", "prompt"}.isdisjoint(keys) and "model" in keys:
        return "; it looks like a request: the answer is wanted"
    return ""


_ANTHROPIC_EVENTS = (b'"message_', b'"content_block_')


def _refuse_errors(keys: dict[str, Raw]) -> None:
    """Raise `PayloadError` for the error of a model server; a line of another system's log is none."""
    error = bytes(keys["error"]) if "error" in keys else b"null"
    is_error = error not in (b"null", b'""', b"false", b"{}")
    marks = [bytes(keys[name]) for name in ("object", "type") if name in keys and len(keys[name]) < _LONGEST_MARK]
    is_named = b'"error"' in marks and not {"message", "error", "code"}.isdisjoint(keys)
    is_alone = keys.keys() <= _ERROR_KEYS
    if (is_alone and (is_error or is_named)) or (is_error and detect(keys) is not None):
        raise PayloadError("error_response", "the server answered with an error")


_LONGEST_MARK = 16


def documents(value: bytes) -> list[bytes]:
    """The JSON documents in these bytes, in order, and `DONE` where a stream marks its end."""
    value = as_utf8(value).strip()
    if value == b"null":
        return []
    while inner := text_inside(value) or from_base64(value):
        value = inner
    if value[:1] == b'"' and b"\n" in value:
        return [text_inside(line) or line for line in _lines(value)]
    if value[:1] == b"{":
        return _lines(value) if b"\n" in value and _is_document(value.partition(b"\n")[0]) else [value]
    if value == DONE:
        return [DONE]
    if value[:1] == b"[":
        return _elements(value)
    if value[:1] == b":" or value.partition(b":")[0].strip() in _SSE_FIELDS:
        return _without_duplicates([document for document in _server_sent(value) if document not in (b"", b"null")])
    raise PayloadError("malformed", cause_of(value))


def _elements(value: bytes) -> list[bytes]:
    """The elements of an array; those of several arrays where they stand back to back."""
    try:
        found = [bytes(element) for element in _ELEMENTS.decode(value)]
    except msgspec.DecodeError:
        arrays = [strict for strict, _ in repaired(value)]
        if arrays == [value] or not all(array.startswith(b"[") for array in arrays):
            raise
        found = [bytes(element) for array in arrays for element in _ELEMENTS.decode(array)]
    found = [element for element in found if element != b"null"]
    if not found:
        raise PayloadError("malformed", "an empty array")
    return found


def _is_document(line: bytes) -> bool:
    try:
        _KEYS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _lines(value: bytes) -> list[bytes]:
    bare = (line.strip().removeprefix(codecs.BOM_UTF8) for line in value.splitlines())
    lines = [line for line in bare if line and line != b"null"]
    is_spread = any(line[:1] in (b'"', b"}", b"]") for line in lines)  # one document over several lines among them
    if value[:1] == b"{" and is_spread:
        return [document for document, _ in repaired(value)]
    return lines


def _server_sent(value: bytes) -> list[bytes]:
    """The data of each server-sent event: its ``data`` lines up to a blank line. White space around JSON is no part.

    An object without a field name is no part of the format. It is kept, because some servers write their errors so.
    """
    found: list[bytes] = []
    data: list[bytes] = []
    for line in (*(value.splitlines() if b"\r" in value else value.split(b"\n")), b""):
        if line[:5] == b"data:":
            data.append(line[5:])
        elif data and (line[:1] == b"{" or not line.strip()):
            found += _documents_of_event(data) if len(data) > 1 else [data[0].strip()]
            data = []
        if line[:1] == b"{":
            found.append(line.strip())
    return found


def _documents_of_event(data: list[bytes]) -> list[bytes]:
    """One document; several where the blank lines between events are missing."""
    lines = [line.strip() for line in data]
    return lines if all(line == DONE or _is_document(line) for line in lines) else [b"\n".join(data).strip()]


def _without_duplicates(found: list[bytes]) -> list[bytes]:
    """Each event once where every event was sent twice in a row."""
    events = [document for document in found if document != DONE]
    if len(events) > 2 and len(events) % 2 == 0 and events[::2] == events[1::2]:
        return [*events[::2], *found[len(events) :][:1]]
    return found
