"""Events in files: read line by line, from any position, within bounds."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.files.event_files import FileSource

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
}


def lines(n: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % i for i in range(n))


def read(source: FileSource, positions: dict[TopicPartition, int] | None = None) -> list[Record]:
    source.open(positions or {})
    records: list[Record] = []
    while not source.is_exhausted:
        records += source.poll(0)
    source.close()
    return records


@pytest.fixture(params=PACKERS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / f"events.jsonl{request.param}"
        path.write_bytes(PACKERS[request.param](content))
        return path

    return write


def test_every_line_is_a_record_whose_offset_is_its_line_number(packed: Callable[[bytes], Path]) -> None:
    path = packed(lines(1_234))
    records = read(FileSource([path]))
    assert [record.value for record in records] == lines(1_234).splitlines()
    assert [record.offset for record in records] == list(range(1_234))
    assert {(r.topic, r.partition, r.headers) for r in records} == {
        (str(path), 0, (("content-type", b"application/json"),))
    }


def test_a_file_source_starts_at_the_given_position(packed: Callable[[bytes], Path]) -> None:
    path = packed(lines(10))
    assert [r.offset for r in read(FileSource([path]), {TopicPartition(str(path), 0): 7})] == [7, 8, 9]
    assert read(FileSource([path]), {TopicPartition(str(path), 0): 10}) == []


def test_a_poll_is_bounded_in_records_and_bytes(packed: Callable[[bytes], Path]) -> None:
    source = FileSource([packed(b"12345678\n" * 100)], max_records=7, max_bytes=40)
    source.open({})
    assert len(source.poll(0)) == 5
    source.max_bytes = 1_000
    assert len(source.poll(0)) == 7


def test_files_are_read_one_after_another(tmp_path: Path) -> None:
    paths = [tmp_path / "b", tmp_path / "a"]
    for path in paths:
        path.write_bytes(path.name.encode() * 2 + b"\n")
    source = FileSource(paths)
    assert [(record.topic, record.value) for record in read(source)] == [(str(p), p.name.encode() * 2) for p in paths]


def test_blank_lines_count_in_offsets_and_give_no_record(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'\xef\xbb\xbf{"first":1}\r\n\n  \n{"last":1}')
    assert [(r.offset, r.value) for r in read(FileSource([path]))] == [(0, b'{"first":1}'), (3, b'{"last":1}')]


def test_a_line_that_is_too_long_is_cut_and_gets_a_header(packed: Callable[[bytes], Path]) -> None:
    path = packed(b"a" * 10 + b"\n" + b"b" * 1_001 + b"\n" + b"c" * 11 + b"\n" + b"d" * 11)
    records = read(FileSource([path], max_line_bytes=10))
    assert [record.value for record in records] == [b"a" * 10, b"b" * 10, b"c" * 10, b"d" * 10]
    assert ["driftgauge-cut" in dict(record.headers) for record in records] == [False, True, True, True]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_lines_before_the_damage_of_a_file_are_read_and_the_error_names_the_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.jsonl{suffix}"
    packed = PACKERS[suffix](b"".join(b"%d\n" % (i**5 % 104_729) for i in range(100_000)))
    path.write_bytes(packed[: len(packed) // 2])
    source = FileSource([path])
    source.open({})
    n, failure = 0, None
    while failure is None:
        try:
            n += len(source.poll(0))
        except ConnectorError as error:
            failure = error
    assert n > 10_000
    assert f"{path}, after line {n}: " in str(failure)
    assert not failure.retriable


@pytest.mark.parametrize("name", ["x.jsonl", "x.gz", "x.zst"])
def test_the_content_of_a_file_says_how_it_is_compressed_not_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for pack in (bytes, gzip.compress, zstandard.compress):
        path.write_bytes(pack(lines(3)))
        assert len(read(FileSource([path]))) == 3


def test_a_decompression_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zst"
    packer = zstandard.ZstdCompressor().compressobj()
    with path.open("wb") as file:
        for _ in range(300):
            file.write(packer.compress(bytes(2**20)))
        file.write(packer.flush())
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    with pytest.raises(ConnectorError, match="unpacks to more than"):
        read(FileSource([path], max_line_bytes=2**20))
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    tracemalloc.stop()


def test_a_file_of_several_compressed_parts_is_read_to_its_end(tmp_path: Path) -> None:
    for suffix in (".gz", ".zst"):
        path = tmp_path / f"parts{suffix}"
        path.write_bytes(PACKERS[suffix](lines(3)) + PACKERS[suffix](lines(2)))
        assert len(read(FileSource([path]))) == 5


def test_a_missing_file_is_a_permanent_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="nothing-here") as error:
        read(FileSource([tmp_path / "nothing-here"]))
    assert not error.value.retriable
