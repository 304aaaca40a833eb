"""The document of a server-sent event, where it stands on several ``data`` lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftgauge.agent.gateway.wire.splice import Edit

LINE_ENDS = (b"\n", b"\r\n", b"\r")

_USUAL = b"data: "
_FIELDS = (b"data:", b"\xef\xbb\xbfdata:")
"""A mark of the byte order may stand before the first line of a stream."""


def value_at(line: bytes) -> int:
    """Where the value of a ``data`` line begins; 0 for other lines.

    >>> value_at(b"data: {}"), value_at(b"data:{}"), value_at(b"event: ping")
    (6, 5, 0)
    """
    if line[: len(_USUAL)] == _USUAL:  # the usual case first
        return len(_USUAL)
    return line.index(b":") + 1 if line.startswith(_FIELDS) else 0


def joined(lines: Sequence[bytes]) -> tuple[bytes, list[Edit]]:
    r"""The document on these ``data`` lines, joined by line feeds, and the edits that make the lines of it again.

    >>> from driftgauge.agent.gateway.wire.splice import spliced
    >>> document, breaks = joined([b'data: {"a":\r\n', b"data:1}\n"])
    >>> document
    b'{"a":\n1}'
    >>> spliced(document, breaks)
    b'data: {"a":\r\ndata:1}\n'
    """
    values: list[bytes] = []
    breaks: list[Edit] = []
    at, end = 0, b""
    for line in lines:
        begin = value_at(line)
        value = line[begin:].rstrip(b"\r\n")
        breaks.append(Edit(at - bool(values), at, end + line[:begin]))
        values.append(value)
        end = line[begin + len(value) :]
        at += len(value) + 1
    breaks.append(Edit(at - 1, at - 1, end))
    return b"\n".join(values), breaks


def outside(breaks: Iterable[Edit], edits: Sequence[Edit]) -> list[Edit]:
    """The breaks that do not lie inside an edit, which replaces them, too."""
    return [each for each in breaks if not any(edit.start <= each.start < each.stop <= edit.stop for edit in edits)]
