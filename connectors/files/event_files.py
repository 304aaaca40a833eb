"""Events in files, plain or compressed, read as a source.

A file is a topic with one partition. `splitting` cuts it into records: lines, documents over several lines, elements of
an array, streams. The number of its first line is the offset of a record. Records are bounded. Compressed files are
unpacked while they are read; a file that unpacks to more than 1,000 times its size is an error.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from driftgauge.connectors.base import ConnectorError, Positions, Record, TopicPartition
from driftgauge.connectors.decoding.recovery import compression_of
from driftgauge.connectors.files.splitting import split
from driftgauge.connectors.files.unicode import Utf8Reader, encoding_of

MAX_LINE_BYTES = 16 * 2**20
_MAX_EXPANSION = 1_000  # JSON of repeated events compresses about 100 times
_UNCHECKED_BYTES = 64 * 2**20  # the expansion is checked from here on
_ZSTD_WINDOW_BYTES = 2**27
_WHOLE = (("content-type", b"application/json"),)
_CUT = (*_WHOLE, ("driftgauge-cut", b"line too long"))


class FileSource:
    """Files of events, read one after another; gzip and zstandard are unpacked, UTF-16 with a mark becomes UTF-8.

    A record longer than ``max_line_bytes`` is cut off and gets the header ``driftgauge-cut``, so that it becomes a dead
    letter. Blank lines are skipped but counted in the offsets.

    Parameters
    ----------
    max_line_bytes : bound of one record
    max_records, max_bytes : bounds of one poll
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_records: int = 500,
        max_bytes: int = 32 * 2**20,
    ) -> None:
        self.paths = paths
        self.max_line_bytes = max_line_bytes
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.is_exhausted = False
        self._records: Iterator[Record] = iter(())
        self._failed: ConnectorError | None = None

    def open(self, positions: Positions) -> None:
        """Start each file at its line number; files without one start at the first line."""
        self.is_exhausted, self._failed = False, None
        self._records = (record for path in self.paths for record in self._read(path, positions))

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - reading a file never waits
        """Return the next lines. Lines before a damaged part of a file are returned before the error is raised."""
        if self._failed:
            raise self._failed
        records: list[Record] = []
        size = 0
        try:
            while len(records) < self.max_records and size < self.max_bytes:
                records.append(next(self._records))
                size += len(records[-1].value or b"")
        except StopIteration:
            self.is_exhausted = True
        except ConnectorError as error:
            self._failed = error
            if not records:
                raise
        return records

    def commit(self, positions: Positions) -> None:
        """Do nothing: a file has no group offsets."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return nothing: the number of remaining lines is not known before they are read."""
        return {}

    def close(self) -> None:
        """Close the file that is open."""
        self._records = iter(())

    def _read(self, path: Path, positions: Positions) -> Iterator[Record]:
        first = positions.get(TopicPartition(str(path), 0), 0)
        number = -1
        try:
            with opened(path) as readline:
                for number, value, is_cut in split(readline, self.max_line_bytes):
                    if number >= first:
                        yield Record(str(path), 0, number, None, value, _CUT if is_cut else _WHOLE)
        except UNREADABLE as error:
            raise ConnectorError(f"{path}, after line {number + 1}: {error}", retriable=False) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Callable[[int], bytes]]:
    """Give a function that reads at most so many bytes of the next line of a file, unpacked and as UTF-8.

    Reading raises one of `UNREADABLE` for a damaged file, and for one that unpacks to more than 1,000 times its size.
    """
    with path.open("rb") as raw, _unpacked(raw) as unpacked:
        yield partial(_read_line, _in_utf8(unpacked), raw)


class _ExpansionError(Exception):
    pass


UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError, _ExpansionError)


def _unpacked(raw: io.BufferedReader) -> io.BufferedIOBase | BinaryIO:
    """The content decides, not the name: some clients unpack a file and keep its name."""
    compression = compression_of(raw.peek(4))
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(_ZstdReader(raw)) if compression == "zstandard" else raw


class _ZstdReader(io.RawIOBase):
    """Unpacks zstandard; unlike the library's reader it raises an error for a file that was cut short."""

    STEP_BYTES = 1_024  # unpacks to 32 MiB at most, by the format

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")
        self._read = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._read

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._packed = self._packed or self._raw.read(self.STEP_BYTES)
            if not self._packed and self._frame and not self._frame.eof:
                raise EOFError("the file was cut short")
            if not self._packed:
                return 0
            self._unpack()
        n = min(len(buffer), len(self._ready))
        buffer[:n], self._ready = self._ready[:n], self._ready[n:]
        self._read += n
        return n

    def _unpack(self) -> None:
        if self._frame is None or self._frame.eof:
            self._frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
        self._ready = memoryview(self._frame.decompress(self._packed))
        self._packed = self._frame.unused_data


def _in_utf8(unpacked: io.BufferedIOBase | BinaryIO) -> io.BufferedIOBase | BinaryIO:
    beginning: bytes = unpacked.peek(4)  # type: ignore[union-attr]  # every reader here is buffered
    encoding = encoding_of(beginning[:4])
    return unpacked if encoding is None else io.BufferedReader(Utf8Reader(unpacked, encoding))


def _read_line(unpacked: io.BufferedIOBase | BinaryIO, raw: BinaryIO, max_bytes: int) -> bytes:
    if unpacked is not raw and unpacked.tell() > _UNCHECKED_BYTES + _MAX_EXPANSION * raw.tell():
        raise _ExpansionError(f"unpacks to more than {_MAX_EXPANSION} times its size")
    return unpacked.readline(max_bytes)
