"""A bound on the unpacked size of Kafka's compressed batches: a megabyte on the wire can hold a gigabyte of zeros.

The client unpacks a batch as a whole and without a bound. This module finds out the unpacked size first, by unpacking
in pieces of a megabyte that are thrown away. It does so only for batches that could exceed the bound at all, so usual
batches cost nothing. To see each batch before the client does, it uses attributes that are private to the client
(docs/dependencies.md).
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

_PIECE_BYTES = 1 << 20
_ZSTD_BLOCK, _ZSTD_HEADER, _ZSTD_CHECKSUM = 1 << 17, 3, 4  # bytes
_XERIAL, _XERIAL_HEADER = b"\x82SNAPPY\x00", 16


class BatchTooLargeError(Exception):
    """A batch that unpacks to too much: offsets ``first`` to ``after`` - 1 of a partition."""

    def __init__(self, partition: TopicPartition, first: int, after: int) -> None:
        super().__init__(f"{partition.topic}/{partition.partition}, offsets {first} to {after - 1}")
        self.partition = partition
        self.first = first
        self.after = after


def bound_batches(consumer: Any, max_bytes: int) -> None:
    """Make a ``KafkaConsumer`` raise `BatchTooLargeError` before it unpacks a batch to more than ``max_bytes``."""
    fetcher = consumer._fetcher
    unpack = fetcher.PartitionRecords

    def bounded(offset: int, partition: Any, records: Any, **options: Any) -> Any:
        return unpack(offset, partition, _Batches(records, TopicPartition(*partition), max_bytes), **options)

    fetcher.PartitionRecords = bounded


class _Batches(NamedTuple):
    """The batches of one fetch; the size of each is checked before the client gets it."""

    records: Any
    partition: TopicPartition
    max_bytes: int

    def next_batch(self) -> Any:
        batch = self.records.next_batch()
        if batch is not None and batch.magic == 2 and batch.compression_type:
            data = memoryview(batch._buffer)[batch.HEADER_STRUCT.size :]
            if exceeds(batch.compression_type, data, self.max_bytes):
                raise BatchTooLargeError(self.partition, batch.base_offset, batch.next_offset)
        return batch


def exceeds(codec: int, data: memoryview, max_bytes: int) -> bool:
    """Whether compressed data unpacks to more than ``max_bytes``.

    >>> zeros = memoryview(gzip.compress(bytes(3_000_000)))
    >>> len(zeros) < 3_000, exceeds(GZIP, zeros, 2_000_000), exceeds(GZIP, zeros, 3_000_000)
    (True, True, False)
    """
    if codec in _UPPER_BOUND and _UPPER_BOUND[codec](data) <= max_bytes:
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
            while piece := stream.read(_PIECE_BYTES):
                yield len(piece)

    return sizes


def _snappy_sizes(data: memoryview) -> Iterator[int]:
    """Sizes that the blocks claim to unpack to; the client allocates these."""
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


def _zstd_upper_bound(data: memoryview) -> int:
    """Upper bound of the unpacked size, from the headers of the blocks (RFC 8878, section 3.1.1), without unpacking."""
    size_bound = at = 0
    while at < len(data):
        frame = zstandard.get_frame_parameters(data[at:])
        at += zstandard.frame_header_size(data[at:])
        is_last = False
        while not is_last:
            header = int.from_bytes(data[at : at + _ZSTD_HEADER], "little")
            is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            is_run, is_compressed = kind == 1, kind == 2
            size_bound += _ZSTD_BLOCK if is_compressed else size
            at += _ZSTD_HEADER + (1 if is_run else size)
            is_last = is_last or at >= len(data)
        at += _ZSTD_CHECKSUM if frame.has_checksum else 0
    return size_bound


_UPPER_BOUND: Mapping[int, Callable[[memoryview], int]] = {
    GZIP: lambda data: 1_032 * len(data),
    LZ4: lambda data: 255 * len(data),
    ZSTD: _zstd_upper_bound,
}
_SIZES: Mapping[int, Callable[[memoryview], Iterator[int]]] = {
    GZIP: _stream_sizes(lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))),
    SNAPPY: _snappy_sizes,
    LZ4: _stream_sizes(lambda file: cast(BinaryIO, lz4.frame.open(file))),
    ZSTD: _stream_sizes(_zstd),
}
