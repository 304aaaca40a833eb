"""Where settings find a value in a record: paths into the payload, its wrapping, the headers, the key or the topic.

A path is written ``payload.metadata.tenant``, ``header.x-team``, ``key``, ``key.tenant`` or ``topic``; ``payload.`` may
be left out. Parts are names of fields, or numbers of elements of an array; a name may contain dots. JSON inside a text
is looked into as well, and so are lists of attributes as OpenTelemetry writes them. A path into a wrapped payload is
tried on the payload first, and then on its wrapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Raw

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.names import clean, has_controls, name_of

Path: TypeAlias = tuple[str, ...]
"""The root (``payload``, ``header``, ``key`` or ``topic``) and the parts."""

ROOTS = frozenset({"payload", "header", "key", "topic"})
_OTLP_TYPES = frozenset({"stringValue", "boolValue", "intValue", "doubleValue"})
_JSON_KEYS = msgspec.json.Decoder(dict[str, Raw])


def path_of(text: str) -> Path:
    """The path written in a setting.

    >>> path_of("metadata.tenant"), path_of("header.x-team"), path_of("key")
    (('payload', 'metadata', 'tenant'), ('header', 'x-team'), ('key',))
    """
    root, _, rest = text.strip().partition(".")
    if root not in ROOTS or (root == "payload" and not rest):
        root, rest = "payload", text.strip()
    return (root, *filter(None, rest.split(".")))


class Values(Protocol):
    """What paths may point into."""

    def value(self, path: Path) -> object:
        """The value at the path; None where there is none."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All that paths may point into: the documents of a payload, the innermost first, and its record."""

    record: Record
    documents: Sequence[bytes]
    encoding: Literal["json", "msgpack"] = "json"

    def value(self, path: Path) -> object:
        """The value at the path; None where there is none."""
        root, *parts = path
        if root == "topic":
            return self.record.topic
        if root == "header":
            return _header(self.record.headers, ".".join(parts))
        if root == "key":
            return _in_text(text_of_key(self.record.key), parts) if parts else text_of_key(self.record.key)
        found = (value_at(document, parts, self.encoding) for document in self.documents)
        return next((value for value in found if value is not None), None)


@dataclass(frozen=True, slots=True)
class Lookup:
    r"""How a name is found: the first path with a value, rewritten by a table of values or by patterns.

    Examples
    --------
    >>> lookup = Lookup((path_of("key"),), {"42": "billing"}, {r"team-(.*)": r"\1"})
    >>> [lookup.name(Sources(Record("t", 0, 0, key, None), [])) for key in (b"42", b"team-law", b"tax", None)]
    ['billing', 'law', 'tax', '']
    """

    paths: tuple[Path, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)

    def name(self, sources: Values) -> str:
        """The name; "" where no path has a value."""
        for path in self.paths:
            if name := name_of(sources.value(path)):
                return self._rewritten(name)
        return ""

    def names(self, sources: Values) -> set[str]:
        """The names in a list, or the name, at the first path that has any."""
        for path in self.paths:
            value = sources.value(path)
            found = map(name_of, value if isinstance(value, list) else [value])
            if names := {self._rewritten(name) for name in found if name}:
                return names
        return set()

    def id(self, sources: Values) -> str:
        """The name as an identifier: text is left as it is; "" where no path has a value."""
        for path in self.paths:
            value = sources.value(path)
            if name := value if isinstance(value, str) else name_of(value):
                return self._rewritten(name)
        return ""

    def _rewritten(self, name: str) -> str:
        if name in self.values:
            return clean(self.values[name])
        for pattern, template in self.patterns.items():
            if match := re.fullmatch(pattern, name):
                return clean(match.expand(template))
        return name


def value_at(document: bytes, parts: Sequence[str], encoding: Literal["json", "msgpack"] = "json") -> object:
    """The value at a path in a document; None where there is none.

    >>> value_at(b'{"a": {"b.c": [1, 2]}}', ["a", "b", "c", "1"])
    2
    """
    try:
        if encoding == "msgpack":
            return walk(msgspec.msgpack.decode(document), parts)
        keys = _JSON_KEYS.decode(document)
        for n in range(1, len(parts) + 1):  # only the field that is wanted is decoded
            raw = keys.get(".".join(parts[:n]))
            if raw is not None:
                return walk(msgspec.json.decode(raw), parts[n:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return None


def walk(value: object, parts: Sequence[str]) -> object:
    """The value at a path in a document that is decoded already; None where there is none.

    >>> walk([{"key": "gen_ai.response.id", "value": {"stringValue": "r-17"}}], ["gen_ai", "response", "id"])
    'r-17'
    """
    if not parts:
        return value
    if isinstance(value, str):
        return _in_text(value, parts)
    if isinstance(value, list):
        if not parts[0].isdecimal():
            return _attribute(value, parts)
        index = int(parts[0]) if len(parts[0]) < 10 else len(value)
        return walk(value[index], parts[1:]) if index < len(value) else None
    if isinstance(value, dict):
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[:n])
            if name in value:
                return walk(value[name], parts[n:])
    return None


def _attribute(attributes: list[Any], parts: Sequence[str]) -> object:
    """The value at a path in a list of ``{"key": …, "value": {"stringValue": …}}``, as OTLP writes attributes."""
    items = (item for item in attributes if isinstance(item, dict) and isinstance(item.get("key"), str))
    named = {item["key"]: item.get("value") for item in items}
    value = walk(named, parts)
    if isinstance(value, dict) and len(value) == 1 and not _OTLP_TYPES.isdisjoint(value):
        return next(iter(value.values()))
    return value


def _in_text(text: str, parts: Sequence[str]) -> object:
    """What lies at a path in JSON that is written as text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        inner: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return walk(inner, parts)


def _header(headers: Sequence[tuple[str, bytes]], wanted: str) -> str | None:
    found = (value for name, value in headers if name.lower() == wanted.lower())
    return next((unquoted(value.decode("utf-8", "replace")) for value in found), None)


def unquoted(text: str) -> str:
    """The text without the quotes of a JSON string around it, which some frameworks put into headers and keys."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def text_of_key(key: bytes | None) -> str:
    r"""The key of a record as text; one that is no text as hexadecimal digits, so that two keys stay two.

    >>> text_of_key(b"r-1"), text_of_key(b"\x00\x00\x00\x2a"), text_of_key(None)
    ('r-1', '0x0000002a', '')
    """
    if not key:
        return ""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
    return f"0x{key.hex()}" if has_controls(text) else unquoted(text)
