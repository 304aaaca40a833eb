"""The documents of a source of labels: files of JSON, CSV or Parquet, or the pages of a web address.

One document is held at a time; a document of JSON has at most `MAX_DOCUMENT_BYTES`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from driftgauge.connectors.decoding.recovery import cause_of, repaired
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.splitting import split
from driftgauge.connectors.files.tables import is_table, read_table
from driftgauge.connectors.labels.mapping import Refusal
from driftgauge.connectors.labels.web import read_pages, shown_url

MAX_DOCUMENT_BYTES = 256 * 2**20


class Document(NamedTuple):
    """One document, decoded: its place for people, and its content, or why it could not be decoded."""

    place: str
    content: Any


def is_url(source: str) -> bool:
    """Whether a source is a web address; otherwise it is a file."""
    return "://" in source


def read_documents(source: str, preset: str = "", token: str = "") -> Iterator[Document]:
    """The documents of a file or a web address; the content of one that is no JSON is a `Refusal`.

    Raises
    ------
    ConnectorError
        When the source cannot be read.
    """
    if is_url(source):
        return _of_pages(source, preset, token)
    return _of_table(Path(source)) if is_table(Path(source)) else _of_json(Path(source))


def _of_table(path: Path) -> Iterator[Document]:
    for number, row in read_table(path):
        yield Document(f"{path}, row {number}", row)


def _of_json(path: Path) -> Iterator[Document]:
    source = FileSource([path], max_line_bytes=MAX_DOCUMENT_BYTES)
    with contextlib.closing(source):
        source.open({})
        while not source.is_exhausted:
            for record in source.poll(0):
                is_cut = any(name == "driftgauge-cut" for name, _ in record.headers)
                yield Document(f"{path}, line {record.offset + 1}", _decoded(record.value or b"", is_cut))


def _of_pages(url: str, preset: str, token: str) -> Iterator[Document]:
    for number, page in read_pages(url, preset, token):
        readline: Callable[[int], bytes] = io.BytesIO(page).readline
        for part in split(readline, MAX_DOCUMENT_BYTES):
            yield Document(
                f"{shown_url(url)}, page {number}, line {part.number + 1}", _decoded(part.value, part.is_cut)
            )


def _decoded(value: bytes, is_cut: bool) -> Any:
    if is_cut:
        return Refusal("too_large", f"longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        (strict, _), *others = repaired(value)  # NaN, for example, as tools for tables write it
        if not others:
            return msgspec.json.decode(strict)
    except (ValueError, msgspec.DecodeError, RecursionError):
        pass
    return Refusal("malformed", cause_of(value))
