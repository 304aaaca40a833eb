"""What a file holds is cut into the same records however it is written, and a broken part costs only itself."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.connectors.base import TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.splitting import Part, split
from tests.files.test_source import read

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a"\\{}[],:\n \u20ac'), max_size=6)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(st.text(max_size=4), TREES, min_size=1, max_size=3), min_size=1, max_size=5)
ONE, TWO = {"id": "r1", "list": [{"a": 1}, {}]}, {"id": "r2", "text": 'a "}{" b'}


def parts(content: bytes, max_bytes: int = 10_000) -> list[Part]:
    return list(split(io.BytesIO(content).readline, max_bytes))


def values(content: bytes, max_bytes: int = 10_000) -> list[bytes]:
    return [part.value for part in parts(content, max_bytes)]


WAYS: dict[str, Callable[[Any], str]] = {
    "lines": lambda documents: "\n".join(map(json.dumps, documents)),
    "indented": lambda documents: "\n".join(json.dumps(d, indent=2) for d in documents),
    "tabs": lambda documents: "\r\n".join(json.dumps(d, indent="\t") for d in documents),
    "not_indented": lambda documents: "\n".join(json.dumps(d, indent=0) for d in documents),
    "without_line_ends_between": lambda documents: "".join(json.dumps(d, indent=1) for d in documents),
    "array": json.dumps,
    "array_over_lines": lambda documents: json.dumps(documents, indent=2),
    "array_with_an_element_on_each_line": lambda documents: "[\n" + ",\n".join(map(json.dumps, documents)) + "\n]\n",
    "blank_lines": lambda documents: "\n \n" + "\n\n".join(json.dumps(d, indent=2) for d in documents) + "\n\n",
}


@pytest.mark.parametrize("way", WAYS)
@given(documents=DOCUMENTS)
def test_documents_are_found_however_they_are_written(way: str, documents: list[dict[str, Any]]) -> None:
    found = parts(WAYS[way](documents).encode())
    assert [json.loads(part.value) for part in found] == documents
    numbers = [part.number for part in found]
    assert numbers == sorted(set(numbers))


@given(st.lists(DOCUMENTS, max_size=3), st.integers(1, 40))
def test_elements_of_an_array_are_found_across_the_pieces_of_a_file(batches: list[Any], size: int) -> None:
    documents = [document for batch in batches for document in batch]
    content = io.BytesIO(json.dumps(documents, indent=1).encode())
    found = list(split(lambda n: content.read(min(n, size)), 10_000)) if documents else []
    assert [json.loads(part.value) for part in found] == documents


def test_a_broken_line_among_lines_is_one_record_with_its_number() -> None:
    lines = [b'{"a": 1}', b'{"b": [1', b'{"c": 3}', b"{", b'{"d": 4', b'{"e": 5}', b'{"f": {']
    assert parts(b"\n".join(lines)) == [Part(number, line) for number, line in enumerate(lines)]


def test_text_that_is_not_json_is_a_record_a_line() -> None:
    lines = [b"started {", b'{"a": 1}', b"error [x", b"  at y", b'{"b": 2}']
    assert values(b"\n".join(lines)) == [line.strip() for line in lines]


def test_a_document_that_is_cut_short_costs_only_itself() -> None:
    whole = json.dumps(ONE, indent=2).encode()
    broken = b"\n".join(whole.splitlines()[:4])
    found = values(b"\n".join([whole, broken, whole, broken, json.dumps(TWO).encode(), broken]))
    assert found == [whole, broken, whole, broken, json.dumps(TWO).encode(), broken]


def test_an_array_that_is_cut_short_gives_its_whole_elements_and_the_rest() -> None:
    content = json.dumps([ONE, TWO, ONE]).encode()[:-20]
    found = values(content)
    assert [json.loads(value) for value in found[:2]] == [ONE, TWO]
    assert len(found) == 3


def test_lines_with_an_array_each_stay_records() -> None:
    lines = [b'[{"a": 1}, {"b": 2}]', b'[{"c": 3}]']
    assert values(b"\n".join(lines)) == lines


def test_a_stream_is_one_record_up_to_its_end() -> None:
    streams = [b'data: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]', b': hello\n\nevent: x\ndata: {"b": 1}']
    assert values(b"\n\n".join(streams) + b"\n\n") == [streams[0], streams[1] + b"\n"]


def test_a_record_that_is_too_long_is_cut_in_every_shape() -> None:
    long = {"id": "x" * 200, "n": 1}
    small = {"id": "y"}
    for way in ("lines", "indented", "array", "array_over_lines"):
        found = parts(WAYS[way]([small, long, small]).encode(), max_bytes=60)
        assert [part.is_cut for part in found] == [False, True, False], way
        assert all(len(part.value) <= 60 for part in found)
    assert [part.is_cut for part in parts(b"data: 1\n\n" * 20, max_bytes=60)] == [True]


def test_an_endless_string_in_an_array_is_read_in_bounded_memory() -> None:
    n_left = 2_000

    def readline(_: int) -> bytes:
        nonlocal n_left
        n_left -= 1
        return (b'["' if n_left == 1_999 else b"a" * 1_000) if n_left >= 0 else b""

    (part,) = split(readline, 5_000)
    assert (len(part.value), part.is_cut) == (5_000, True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("way", ["lines", "indented", "array"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str, way: str) -> None:
    text = WAYS[way]([ONE, {**TWO, "text": "\u20ac \U0001f600"}])
    for suffix, pack in (("", bytes), (".gz", gzip.compress)):
        path = tmp_path / f"{encoding}{suffix}"
        mark = "\ufeff" if encoding.endswith("be") else ""
        path.write_bytes(pack((mark + text).encode(encoding)))
        found = [json.loads(record.value or b"") for record in read(FileSource([path]))]
        assert found == [ONE, {**TWO, "text": "\u20ac \U0001f600"}]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_resumed_after_any_record(tmp_path: Path, way: str) -> None:
    path = tmp_path / "events.json"
    path.write_text(WAYS[way]([ONE, TWO, ONE, TWO]))
    whole = read(FileSource([path]))
    for n, record in enumerate(whole):
        assert read(FileSource([path]), {TopicPartition(str(path), 0): record.offset + 1}) == whole[n + 1 :]


def test_a_stream_in_a_file_is_decoded_as_one_response(tmp_path: Path) -> None:
    events = [
        {"id": "s", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m", "choices": [choice]}
        for choice in (
            {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": -0.5}]}},
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        )
    ]
    path = tmp_path / "stream.sse"
    path.write_text("".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")
    (record,) = read(FileSource([path]))
    (response,) = choices_of(Decoder().decode([record]))
    assert (response["id"], response["n_tokens"], response["complete"]) == ("s", 1, True)
