"""Rows of tables: CSV, plain or compressed, and Parquet, which needs the extra ``parquet``.

The columns of CSV are separated by commas, semicolons or tabs, as the first line shows, or as Excel's ``sep=`` says in
a line before it. White space around the names of columns and before values is no part of them. Lines may end in CR, and
what is not UTF-8 is read as Windows-1252.

Rows are read one after another (of Parquet in groups of `BATCH`), so memory is bounded by a row, or by a group.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.event_files import MAX_LINE_BYTES, UNREADABLE, opened

BATCH = 1_000
_SEPARATORS = (",", ";", "\t")


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name.

    >>> is_table(Path("labels.csv.gz")), is_table(Path("labels.parquet")), is_table(Path("labels.jsonl"))
    (True, True, False)
    """
    return not {".csv", ".parquet"}.isdisjoint(path.suffixes[-2:])


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row by the names of its columns, with its number: the line of a CSV file, counted from 1, or the row.

    Values of CSV are text. Those of Parquet are plain values, times as RFC 3339 text.

    Raises
    ------
    ConnectorError
        When the file cannot be read.
    """
    return _parquet(path) if path.suffix == ".parquet" else _csv(path)


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    csv.field_size_limit(MAX_LINE_BYTES)  # of the process; texts of responses are longer than the limit of the module
    try:
        with opened(path) as readline:
            lines = _lines(readline)
            header = next(lines, "")
            separator = header[4:5] if header.lower().startswith("sep=") and header[4:5] in _SEPARATORS else ""
            header = next(lines, "") if separator else header
            rows = csv.DictReader(
                chain([header], lines), delimiter=separator or _delimiter(header), skipinitialspace=True
            )
            for row in rows:
                number = rows.line_num + bool(separator)
                yield number, {name.strip(): value for name, value in row.items() if isinstance(name, str)}
    except (csv.Error, *UNREADABLE) as error:
        raise ConnectorError(f"{path}, after line {number}: {error}", retriable=False) from error


def _delimiter(header: str) -> str:
    """What separates the names of the columns: the comma, or what some spreadsheets write in its place."""
    return max(_SEPARATORS, key=header.count)


def _lines(readline: Callable[[int], bytes]) -> Iterator[str]:
    mark = "\ufeff"
    while line := readline(MAX_LINE_BYTES):
        yield from io.StringIO(_text(line).removeprefix(mark), newline="")  # lines may end in CR
        mark = ""


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")  # as spreadsheets on Windows write it


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        text = f"{path}: Parquet files need pyarrow: pip install 'driftgauge[parquet]'"
        raise ConnectorError(text, retriable=False) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, msgspec.to_builtins(row)
    except (ArrowException, OSError) as error:
        raise ConnectorError(f"{path}, after row {number}: {error}", retriable=False) from error
