"""A file of JSON lines that survives a crash: what was appended is there, and a line cut off by the crash is not.

One process at a time uses it; a second one gets an error. The file grows until `Journal.replace` is called.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, Self, TypeVar

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.whole_file import whole_file

Line = TypeVar("Line")


class Journal(Generic[Line]):
    """The lines of a file, of one type. Read them before the first `append`.

    Raises
    ------
    ConnectorError
        When the file cannot be used, or another process uses it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal"), dict[str, int]) as journal:
    ...     journal.append([{"a": 1}, {"b": 2}])
    ...     journal.read()
    [{'a': 1}, {'b': 2}]
    """

    def __init__(self, path: Path, kind: type[Line]) -> None:
        self._path, self._decoder = path, msgspec.json.Decoder(kind)
        try:
            self._lock = path.with_name(path.name + ".lock").open("ab")
        except OSError as error:
            raise ConnectorError(f"{path}: cannot be written: {error.strerror}", retriable=False) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ConnectorError(f"{path} is in use by another process", retriable=True) from error

    def read(self) -> list[Line]:
        """Every line. The beginning of a line that a crash cut off is removed."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        return [self._decoded(number, line) for number, line in enumerate(whole.splitlines(), start=1)]

    def _decoded(self, number: int, line: bytes) -> Line:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = f"{self._path}, line {number}: this command did not write it; move the file away to start a new one"
            raise ConnectorError(text, retriable=False) from error

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines at the end; they are on the disk when this returns."""
        with self._path.open("ab") as file:
            self._write(file, lines)

    def replace(self, lines: Iterable[Line]) -> None:
        """Put these lines in the place of all others, at once."""
        with whole_file(self._path) as file:
            self._write(file, lines)

    @staticmethod
    def _write(file: BinaryIO, lines: Iterable[Line]) -> None:
        file.write(msgspec.json.Encoder().encode_lines([*lines]))
        file.flush()
        os.fsync(file.fileno())

    def close(self) -> None:
        """Let other processes use the file; safe to call twice."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
