"""How a file is cut into records: a line each, a document over several lines, an element of an array, or a stream.

The shape follows from the content. Where one document stands on each line, a record is a line, also a broken one. A
line that opens a JSON document and does not close it begins a document over several lines, unless the next line is a
document by itself: then the line is broken. A file that is one array gives its elements. Server-sent events give one
record up to the end of their stream.

Numbers grow: that of a record is the number of its first line, counted from 0, and that of an element its place in the
array. Memory is bounded by ``max_bytes`` for a record; what is longer is cut off.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

CHUNK_BYTES = 2**18
_MAX_PIECES_AHEAD = 1_000
_SSE_FIELD = re.compile(rb"(?:data|event|id|retry)?\s*:")
_END_OF_STREAM = re.compile(rb"data:\s*\[DONE\]\s*")
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_BRACKET = re.compile(rb"[\[\]{}]")
_NESTING = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_SEPARATORS = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)


class Part(NamedTuple):
    """The bytes of one record, its number, and whether more bytes belonged to it."""

    number: int
    value: bytes
    is_cut: bool = False


def split(readline: Callable[[int], bytes], max_bytes: int) -> Iterator[Part]:
    r"""Cut a file into records.

    Parameters
    ----------
    readline : returns at most so many bytes of the next line, with the line end; nothing at the end of the file
    max_bytes : bound of one record

    Examples
    --------
    >>> import io
    >>> [part.value for part in split(io.BytesIO(b'{\n "a": 1\n}\n{\n "b": 2\n}').readline, 100)]
    [b'{\n "a": 1\n}', b'{\n "b": 2\n}']
    """
    lines = _Lines(readline, max_bytes)
    if lines.is_array():
        yield from _elements(lines.chunks(), max_bytes)
        return
    while first := lines.next():
        text = first.value
        if _SSE_FIELD.match(text):
            yield _stream(first, lines, max_bytes)
        elif first.is_cut or not _opens(text):
            yield first._replace(value=text.strip())
        else:
            yield from _document(first, lines, max_bytes)


class _Lines:
    """The lines of a file that are not blank, each with its number; the next one can be looked at."""

    def __init__(self, readline: Callable[[int], bytes], max_bytes: int) -> None:
        self._from_file = readline
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []  # read already, to be read again
        self._ahead: list[Part] = []
        self._n_lines = 0

    def is_array(self) -> bool:
        """Whether the whole file is one array. Several lines with an array each are not."""
        first = self._piece_ahead()
        if not _text(first).lstrip().startswith(b"["):
            return False
        is_whole = len(first) <= self._max_bytes and _depth(first) == 0
        return not (is_whole and self._piece_ahead())

    def next(self, *, is_blank_kept: bool = False) -> Part | None:
        """The next line that is not blank, or just the next line; None at the end."""
        while line := self._ahead.pop() if self._ahead else self._read():
            if line.value or is_blank_kept:
                return line
        return None

    def peek(self) -> Part | None:
        """The line that `next` will return."""
        line = self.next()
        if line:
            self.put_back(line)
        return line

    def put_back(self, line: Part) -> None:
        """Make this line the next one."""
        self._ahead.append(line)

    def chunks(self) -> Iterator[bytes]:
        """Everything, without regard to lines; to be called before any line was read."""
        yield from self._pieces
        while chunk := self._from_file(CHUNK_BYTES):
            yield chunk

    def _piece_ahead(self) -> bytes:
        """The next line or beginning of a line that is not blank; it stays to be read."""
        while len(self._pieces) < _MAX_PIECES_AHEAD and (piece := self._from_file(self._max_bytes + 1)):
            self._pieces.append(piece)
            if _text(piece).strip():
                return piece
        return b""

    def _read(self) -> Part | None:
        line = rest = self._piece()
        if not line:
            return None
        is_cut = len(line) > self._max_bytes and not line.endswith(b"\n")
        while is_cut and rest and not rest.endswith(b"\n"):
            rest = self._piece()
        self._n_lines += 1
        return Part(self._n_lines - 1, _text(line[: self._max_bytes]).rstrip(), is_cut)

    def _piece(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else self._from_file(self._max_bytes + 1)


def _text(line: bytes) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8)


def _depth(text: bytes) -> int:
    """How many objects and arrays these bytes open and do not close."""
    depth = 0
    for token in _NESTING.findall(text):
        depth += token in (b"{", b"[")
        depth -= token in (b"}", b"]")
    return depth


def _opens(line: bytes) -> bool:
    """Whether a line opens a document and does not close it; one that ends like a document is not counted through."""
    line = line.lstrip()
    return line.startswith((b"{", b"[")) and not (line[:1] == b"{" and line[-1:] == b"}") and _depth(line) > 0


def _is_document(line: bytes) -> bool:
    """Whether a line holds a whole object, from its first column on; an empty one may be part of another."""
    return line.startswith(b"{") and line.endswith(b"}") and len(line) > len(b"{}") and _depth(line) == 0


def _document(first: Part, lines: _Lines, max_bytes: int) -> Iterator[Part]:
    """The document that begins with this line; it ends where it is closed, or where another one begins."""
    found, depth, size = [first], _depth(first.value), len(first.value)
    while depth > 0 and (line := lines.peek()) and not _begins_another(line, found):
        lines.next()
        depth, end = _closed(line.value, depth)
        if rest := line.value[end:].strip():
            lines.put_back(Part(line.number, rest, line.is_cut))
        if size <= max_bytes:  # what lies beyond is only counted
            found.append(line._replace(value=line.value[:end]))
        size += end + 1
    if depth <= 0 or any(line.value.startswith((b" ", b"\t", b'"')) for line in found):
        yield _joined(found, max_bytes)
    else:
        yield from found


def _closed(line: bytes, depth: int) -> tuple[int, int]:
    """The depth after a line, and the end of what belongs to the document: where it is closed, or else the line end."""
    if not _BRACKET.search(line):
        return depth, len(line)
    for token in _NESTING.finditer(line):
        depth += token[0] in (b"{", b"[")
        depth -= token[0] in (b"}", b"]")
        if depth <= 0:
            return depth, token.end()
    return depth, len(line)


def _begins_another(line: Part, found: list[Part]) -> bool:
    """Whether a line begins the next document although the one before is not closed."""
    is_indented = len(found) > 1 and found[1].value.startswith((b" ", b"\t"))
    return _is_document(line.value) or (is_indented and line.value.startswith(b"{"))


def _stream(first: Part, lines: _Lines, max_bytes: int) -> Part:
    """The server-sent events from this line on, up to the event that ends a stream."""
    found, size, line = [first], len(first.value), first
    while not _END_OF_STREAM.fullmatch(line.value) and (following := lines.next(is_blank_kept=True)):
        line = following
        if size <= max_bytes:
            found.append(line)
        size += len(line.value) + 1
    return _joined(found, max_bytes)


def _joined(found: list[Part], max_bytes: int) -> Part:
    value = b"\n".join(part.value for part in found)
    is_cut = len(value) > max_bytes or any(part.is_cut for part in found)
    return Part(found[0].number, value[:max_bytes], is_cut)


def _elements(chunks: Iterable[bytes], max_bytes: int) -> Iterator[Part]:
    """The elements of an array, and of any that follows it; what is left of a broken one is the last element."""
    splitter = _ArraySplitter(max_bytes)
    number = 0
    for chunk in (*chunks, b""):
        for value, is_cut in splitter.feed(chunk):
            yield Part(number, value, is_cut)
            number += 1


class _ArraySplitter:
    """Cuts an array into its elements while it is read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        self._scanned = 0
        self._depth = 0
        self._head: bytes | None = None
        """The beginning of an element that is too long."""

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield the elements that end in this chunk; an empty chunk ends the file."""
        self._buffer += chunk
        begin = 0
        for token in _SEPARATORS.finditer(self._buffer, self._scanned):
            if token[0] == b'"' and chunk:  # a string that goes on in the next chunk
                self._scanned = token.start()
                break
            self._depth += token[0] in (b"[", b"{")
            self._depth = max(0, self._depth - (token[0] in (b"]", b"}")))
            self._scanned = token.end()
            if (self._depth == 1 and token[0] == b",") or (self._depth == 0 and token[0] == b"]"):
                yield from self._element(self._buffer[begin : token.start()])
                begin = token.end()
            elif self._depth == 1 and token[0] == b"[":
                begin = token.end()
        self._buffer, self._scanned = self._buffer[begin:], self._scanned - begin
        if not chunk:
            yield from self._element(self._buffer)
        elif len(self._buffer) > self._max_bytes:
            self._forget()

    def _forget(self) -> None:
        """Keep only the beginning of an element that is too long, and what is not yet scanned."""
        self._head = self._head or self._buffer[: self._max_bytes]
        self._buffer, self._scanned = self._buffer[self._scanned :], 0
        if len(self._buffer) > self._max_bytes:  # in a string: what matters is whether its next character is escaped
            n_backslashes = len(self._buffer) - len(self._buffer.rstrip(b"\\"))
            self._buffer = b'"' + b"\\" * (n_backslashes % 2)

    def _element(self, value: bytes) -> Iterator[tuple[bytes, bool]]:
        if self._head is not None:
            yield self._head.strip(), True
            self._head = None
        elif value := _text(value.strip()):
            yield value[: self._max_bytes], len(value) > self._max_bytes
