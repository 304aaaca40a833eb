"""How far Kafka's compressed batches may grow: a megabyte on the wire can hold a gigabyte of zeros.

The client unpacks a batch as a whole and without a bound. Here the size is found out before, by unpacking in pieces
that are thrown away: only where the data could reach the bound at all, so that usual batches cost nothing. Owns the one
place where the client's inside is touched for it. Memory: one piece.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, cast

import lz4.frame  # type: ignore[import-untyped]  # it ships no types
import zstandard

from driftgauge.connectors.base import TopicPartition

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Kafka's numbers for the codecs of a batch."""

_PIECE = 1 << 20
_ZSTD_BLOCK, _ZSTD_HEADER, _ZSTD_CHECKSUM = 1 << 17, 3, 4  # bytes
_XERIAL, _XERIAL_HEADER = b"\x82SNAPPY\x00", 16


class BatchTooLargeError(Exception):
    """A batch that must not be unpacked: offsets ``first`` to ``after`` - 1 of a partition."""

    def __init__(self, partition: TopicPartition, first: int, after: int) -> None:
        super().__init__(f"{partition.topic}/{partition.partition}, offsets {first} to {after - 1}")
        self.partition = partition
        self.first = first
        self.after = after


def bound_batches(consumer: Any, max_bytes: int) -> None:
    """Let a consumer of kafka-python raise `BatchTooLargeError` before it unpacks more than ``max_bytes``."""
    fetcher = consumer._fetcher
    unpack = fetcher.PartitionRecords

    def bounded(offset: int, partition: Any, records: Any, **options: Any) -> Any:
        return unpack(offset, partition, _Batches(records, TopicPartition(*partition), max_bytes), **options)

    fetcher.PartitionRecords = bounded


class _Batches(NamedTuple):
    """The batches of one fetch, each looked at before it is handed out."""

    records: Any
    partition: TopicPartition
    max_bytes: int

    def next_batch(self) -> Any:
        batch = self.records.next_batch()
        if batch is not None and batch.magic == 2 and batch.compression_type:
            data = memoryview(batch._buffer)[batch._pos :]
            if exceeds(batch.compression_type, data, self.max_bytes):
                raise BatchTooLargeError(self.partition, batch.base_offset, batch.next_offset)
        return batch


def exceeds(codec: int, data: memoryview, max_bytes: int) -> bool:
    """Whether compressed data unpacks to more than ``max_bytes``.

    >>> zeros = memoryview(gzip.compress(bytes(3_000_000)))
    >>> len(zeros) < 3_000, exceeds(GZIP, zeros, 2_000_000), exceeds(GZIP, zeros, 3_000_000)
    (True, True, False)
    """
    if codec in _MOST and _MOST[codec](data) <= max_bytes:
        return False
    total = 0
    for size in _SIZES[codec](data):
        total += size
        if total > max_bytes:
            return True
    return False


def _stream_sizes(opened: Callable[[BinaryIO], BinaryIO]) -> Callable[[memoryview], Iterator[int]]:
    def sizes(data: memoryview) -> Iterator[int]:
        with opened(io.BytesIO(data)) as stream:
            while piece := stream.read(_PIECE):
                yield len(piece)

    return sizes


def _snappy_sizes(data: memoryview) -> Iterator[int]:
    """What its blocks say they hold, which is what is made room for."""
    if data[: len(_XERIAL)] != _XERIAL:
        yield _varint(data)
        return
    at = _XERIAL_HEADER
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        yield _varint(data[at + 4 :])
        at += 4 + max(0, length)


def _varint(data: memoryview) -> int:
    value = 0
    for i, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            break
    return value


def _zstd(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


def _zstd_most(data: memoryview) -> int:
    """What its blocks can hold, by their headers (RFC 8878, section 3.1.1): cheaper than to unpack them."""
    most = at = 0
    while at < len(data):
        frame = zstandard.get_frame_parameters(data[at:])
        at += zstandard.frame_header_size(data[at:])
        is_last = False
        while not is_last:
            header = int.from_bytes(data[at : at + _ZSTD_HEADER], "little")
            is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            is_run, is_compressed = kind == 1, kind == 2
            most += _ZSTD_BLOCK if is_compressed else size
            at += _ZSTD_HEADER + (1 if is_run else size)
            is_last = is_last or at >= len(data)
        at += _ZSTD_CHECKSUM if frame.has_checksum else 0
    return most


_MOST: Mapping[int, Callable[[memoryview], int]] = {
    GZIP: lambda data: 1_032 * len(data),
    LZ4: lambda data: 255 * len(data),
    ZSTD: _zstd_most,
}
_SIZES: Mapping[int, Callable[[memoryview], Iterator[int]]] = {
    GZIP: _stream_sizes(lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))),
    SNAPPY: _snappy_sizes,
    LZ4: _stream_sizes(lambda file: cast(BinaryIO, lz4.frame.open(file))),
    ZSTD: _stream_sizes(_zstd),
}
