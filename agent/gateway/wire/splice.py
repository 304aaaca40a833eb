"""Values of a JSON document replaced in place: every other byte stays as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from msgspec import Raw

_HEAD = 64
_KEY_BEFORE = re.compile(rb'(\s*,\s*)?"(?:[^"\\]|\\.)*"\s*:\s*\Z')
_COMMA_AFTER = re.compile(rb"\s*,\s*")
_KEY_WITHIN_BYTES = 256


class Edit(NamedTuple):
    """Replace the bytes from ``start`` to ``stop``."""

    start: int
    stop: int
    value: bytes


def spliced(document: bytes, edits: Iterable[Edit]) -> bytes:
    r"""The document after these edits, which do not overlap, in any order.

    >>> document = b'{"a": [1, 2], "b": 3}'
    >>> spliced(document, [Edit(6, 12, b"null")])
    b'{"a": null, "b": 3}'
    """
    out: list[bytes] = []
    at = 0
    for start, stop, value in sorted(edits):
        out += (document[at:start], value)
        at = stop
    out.append(document[at:])
    return b"".join(out)


def start_of(raw: Raw, span: bytes, document: bytes) -> int:
    """Where the value of ``raw``, which was decoded from this document, begins in it; ``span`` holds its bytes.

    An unescaped quote cannot stand inside a string of JSON. So bytes with one that occur once are this value, and a
    search finds them faster than the addresses in memory, which say it for every value.
    """
    head = span[:_HEAD]
    if b'"' in head:
        at = document.find(head)
        if document.find(head, at + 1) < 0:
            return at
    return _address(raw) - _address(document)


def _address(buffer: Raw | bytes) -> int:
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address


def without_member(document: bytes, start: int, stop: int) -> Edit:
    """The edit that removes the member of an object whose value lies there: its key and one comma with it.

    >>> document = b'{"a": 1, "b": [2], "c": 3}'
    >>> spliced(document, [without_member(document, 14, 17)])
    b'{"a": 1, "c": 3}'
    >>> spliced(document, [without_member(document, 6, 7)])
    b'{"b": [2], "c": 3}'
    """
    begin = max(0, start - _KEY_WITHIN_BYTES)
    key = _KEY_BEFORE.search(document[begin:start])
    if key is None:
        return Edit(start, stop, b"null")
    if not key[1] and (comma := _COMMA_AFTER.match(document, stop)):
        stop = comma.end()
    return Edit(begin + key.start(), stop, b"")
