"""Bytes that are not strict JSON: what can be read after all is repaired, and a refusal names the likely cause.

Repairs are safe and counted: a byte order mark, the prefix of a schema registry, JSON inside a JSON string or in
base64, documents back to back or with commas between them, and literals that JSON lacks (NaN, Infinity, numbers beyond
a double, halves of a surrogate pair). Nothing else is guessed. Pure; every function is linear in the bytes.
"""

from __future__ import annotations

import binascii
import codecs
import math
import re
from base64 import b64decode
from collections.abc import Iterator

import msgspec

from driftgauge.connectors.decoding.formats.payload import PayloadError

_REGISTRY_PREFIXES = (
    (b"\x00", 5),  # Confluent: zero, four bytes of a schema id
    (b"\x00", 9),  # Apicurio: zero, eight bytes
    (b"\x01", 17),  # Confluent: one, a schema GUID
    (b"\x03\x00", 18),  # AWS Glue: version, no compression, a schema UUID
)
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x82SNAPPY": "Snappy",
    b"\xff\x06\x00\x00sNaPpY": "Snappy",
}
_LONGEST_NUMBER = 300
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_BETWEEN = b", \t\r\n"  # what may stand between documents
UNICODE_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks and the encodings that they name."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'  # matches one without an end too, so that no byte is read twice
_LITERALS = re.compile(
    _STRING + rb"|(?P<number>-?\d[\d.eE+-]*+)|(?P<literal>[-+]?(?<![\w.])(?i:nan|infinity|inf)(?!\w))", re.DOTALL
)
_OF_PYTHON = re.compile(_STRING + rb"|(?P<word>\b(?:None|True|False)\b)", re.DOTALL)
_BRACES = re.compile(_STRING + rb"|(?P<brace>[{}\[\]])", re.DOTALL)
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)

_OTHER_SPELLINGS = (b"og_prob", b"ogProb", b"opLog", b"enLog", b"robability")
_USUAL = {
    b"logprob": b"logprob",
    b"logprobability": b"logprob",
    b"logprobs": b"logprobs",
    b"toplogprobs": b"top_logprobs",
    b"tokenlogprobs": b"token_logprobs",
    b"finishreason": b"finish_reason",
}
_SPELLINGS = re.compile(
    rb'"(log_?prob(?:s|_?ability)?|top_?log_?probs|token_?log_?probs|finish_?reason)"(?=\s*:)', re.IGNORECASE
)
_LOGPROBS = re.compile(rb'"(?!avg|mean|cum|prompt|input)[a-z_]*log_?prob[a-z_]*"\s*:\s*(?:\[\s*)*+-\d', re.IGNORECASE)

_SNAKE_CASE = re.compile(rb'"[a-z]+(?:_[a-z]+)++"(?=\s*:)')
_NEXT_WORD = re.compile(rb"_([a-z])")
_OF_PROMPT = re.compile(rb'"prompt_logprobs"\s*:\s*\[')


def as_utf8(value: bytes) -> bytes:
    r"""The bytes in UTF-8 without a byte order mark, and without the prefix of a schema registry before JSON.

    >>> as_utf8('\ufeff{}'.encode("utf-16-le")), as_utf8(b"\x00\x00\x00\x00\x07{}")
    (b'{}', b'{}')
    """
    if value[:1] in b"{[":
        return value
    for mark, encoding in UNICODE_MARKS:
        if value.startswith(mark):
            without_mark = value[len(mark) :]
            return without_mark if encoding == "utf-8" else _transcoded(without_mark, encoding)
    for prefix, length in _REGISTRY_PREFIXES:
        if value.startswith(prefix) and value[length : length + 1] in (b"{", b"["):
            return value[length:]
    return value


def _transcoded(value: bytes, encoding: str) -> bytes:
    try:
        return value.decode(encoding).encode()
    except UnicodeError:
        raise PayloadError("malformed", f"it begins like {encoding[:6].upper()} text, and is not") from None


def text_inside(value: bytes) -> bytes | None:
    r"""The JSON document inside a JSON string, also in base64; None where the bytes are no such string.

    >>> text_inside(b'"{\\"id\\": 1}"'), text_inside(b'"eyJpZCI6IDF9"')
    (b'{"id": 1}', b'{"id": 1}')
    """
    if not value.startswith(b'"'):
        return None
    try:
        inner = msgspec.json.decode(value, type=str).strip().encode()
    except (msgspec.DecodeError, UnicodeError):
        return None
    return inner if inner[:1] in (b"{", b"[", b'"') else from_base64(inner)


def from_base64(text: bytes) -> bytes | None:
    """The JSON document in base64, of either alphabet; None where the text is none.

    >>> from_base64(b"eyJpZCI6IDF9"), from_base64(b"hello")
    (b'{"id": 1}', None)
    """
    if text[:1] not in (b"e", b"W"):  # what a brace and a bracket become
        return None
    packed = text.translate(_STANDARD_ALPHABET, b"\r\n").rstrip(b"=")
    try:
        inner = b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return inner if inner[:1] in (b"{", b"[") else None


def respelt(document: bytes) -> bytes:
    r"""The same with the usual spelling of fields of log-probabilities; for documents in which none were found.

    >>> respelt(b'{"topLogprobs": [{"log_prob": -1}]}'), respelt(b'"\\"logProb\\": 1"')
    (b'{"top_logprobs": [{"logprob": -1}]}', b'"\\"logProb\\": 1"')
    """
    if not any(mark in document for mark in _OTHER_SPELLINGS):
        return document
    return _SPELLINGS.sub(lambda match: b'"' + _USUAL[match[1].replace(b"_", b"").lower()] + b'"', document)


def in_camel_case(document: bytes) -> bytes:
    """The same with the names of fields as Gemini's API has them; Google's client for Python writes them in snake case.

    >>> in_camel_case(b'{"usage_metadata": {"candidates_token_count": 3}}')
    b'{"usageMetadata": {"candidatesTokenCount": 3}}'
    """
    if b'"usage_metadata"' not in document and b'"logprobs_result"' not in document:
        return document
    return _SNAKE_CASE.sub(lambda match: _NEXT_WORD.sub(lambda letter: letter[1].upper(), match[0]), document)


def has_logprobs(document: bytes) -> bool:
    """Whether a field that is named so holds log-probabilities of generated tokens, at whatever place."""
    return _LOGPROBS.search(document) is not None and not _OF_PROMPT.search(document)


def repaired(value: bytes) -> list[tuple[bytes, int]]:
    """The strict JSON documents in bytes that are not one, each with the number of literals replaced in it.

    >>> repaired(b'{"a": NaN}{"b": "NaN"}')
    [(b'{"a": null}', 1), (b'{"b": "NaN"}', 0)]
    """
    return [_strict(document) for document in _apart(value)]


def _strict(document: bytes) -> tuple[bytes, int]:
    n_replaced = 0

    def replacement(match: re.Match[bytes]) -> bytes:
        nonlocal n_replaced
        if match.lastgroup is None or (match.lastgroup == "number" and _is_readable(match[0])):
            return match[0]
        n_replaced += 1
        return b"\\ufffd" if match.lastgroup == "half" else b"null"

    document = _LITERALS.sub(replacement, document)
    return _SURROGATES.sub(replacement, document), n_replaced


def _is_readable(number: bytes) -> bool:
    """Whether a number fits into a double, or is not one at all."""
    try:
        return len(number) < _LONGEST_NUMBER and math.isfinite(float(number))
    except ValueError:
        return True


def _apart(value: bytes) -> Iterator[bytes]:
    """Documents that stand back to back, or with white space or commas between them."""
    depth = start = 0
    for match in _BRACES.finditer(value):
        brace = match["brace"]
        if brace is None:
            continue
        depth += 1 if brace in b"{[" else -1
        if depth <= 0:
            yield value[start : match.end()].strip(_BETWEEN)
            start, depth = match.end(), 0
    if rest := value[start:].strip(_BETWEEN):
        yield rest


def compression_of(value: bytes) -> str:
    r"""The name of the compression that these bytes begin with; empty: none that is known.

    >>> compression_of(b"\x1f\x8b\x08"), compression_of(b"{}")
    ('gzip', '')
    """
    return next((name for mark, name in _COMPRESSED.items() if value.startswith(mark)), "")


def cause_of(value: bytes) -> str:
    r"""Why some bytes are no JSON, in words for people that do not quote them.

    >>> cause_of(b"\x1f\x8b\x08"), cause_of(b"{'id': 1}")
    ('it looks compressed (gzip)', 'it has single quotes, as Python prints a dictionary; JSON needs double quotes')
    """
    head = value.lstrip()[:2]
    if compression := compression_of(value):
        return f"it looks compressed ({compression})"
    if not value.strip():
        return "it is empty"
    if b"\x00" in value[:4] and head[:1] in (b"{", b"[", b"\x00") and (value[1:2] == b"\x00") != (value[:1] == b"\x00"):
        return "it looks like UTF-16 without a byte order mark; UTF-8 is expected"
    if value[:1] in (b"\x00", b"\x01", b"\x03"):
        first = {b"\x00": "a zero byte", b"\x01": "a byte 1", b"\x03": "a byte 3"}[value[:1]]
        return f"it begins with {first}, as a schema registry's serializers write before Avro or Protobuf; JSON is read"
    if 0x80 <= value[0] <= 0x8F or value[0] in (0xDE, 0xDF):
        return "it looks like MessagePack: name that in the header content-type or in decode.encoding"
    if head[:1] == b"<":
        return "it looks like XML or HTML"
    if head[:1] not in (b"{", b"["):
        return "neither a JSON object, an array, lines of them, nor server-sent events"
    return _cause_in(value)


def _cause_in(value: bytes) -> str:
    """Why something that begins like JSON is none."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if re.match(rb"[{\[]\s*'", value.lstrip()):
        return "it has single quotes, as Python prints a dictionary; JSON needs double quotes"
    if _is_cut_off(value):
        return "it ends inside an object, an array or a text: it was cut off"
    if any(match["word"] for match in _OF_PYTHON.finditer(value)):
        return "it has None, True or False, as Python prints them; JSON needs null, true and false"
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"
    return "not JSON"


def _is_cut_off(value: bytes) -> bool:
    depth, string_ends = 0, True
    for match in _BRACES.finditer(value):
        brace = match["brace"]
        if brace is None:
            string_ends = len(match[0]) > 1 and match[0].endswith(b'"')
        else:
            depth += 1 if brace in b"{[" else -1
    return depth > 0 or not string_ends
