"""A stream in one record: its pieces become one piece a choice, and the usual stream is read at once."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec import Struct

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.documents import read_stream
from driftgauge.connectors.decoding.inspection import choices_of
from driftgauge.connectors.decoding.lookup import Lookup, path_of
from driftgauge.connectors.decoding.naming import NameRules
from driftgauge.models.events import Chunk, Event
from tests.decode.chat import OTHER, USUAL, entry

Document = dict[str, Any]
ENTRIES = [entry("a", -0.5, USUAL), entry("b", -1.4, OTHER), entry("z", 0.0), entry("\ufffd", -2.5, USUAL)]
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}


def piece(delta: Any, logprobs: Any = None, finish_reason: str | None = None, index: int = 0, **more: Any) -> Document:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return {"id": "r", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "m",
            "choices": [choice], **more}  # fmt: skip


def without_choice(**more: Any) -> Document:
    return {**piece({}), "choices": [], **more}


def sse(documents: list[Document], *, is_done: bool = True) -> bytes:
    lines = [json.dumps(document).encode() for document in documents] + [b"[DONE]"] * is_done
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


def record(value: bytes, key: bytes | None = b"key", offset: int = 0) -> Record:
    return Record("t", 0, offset, key, value, timestamp=1.7e9)


USUAL_DELTAS = st.sampled_from([
    {"content": "a"}, {"content": ""}, {"content": None}, {}, {"reasoning": "a"}, {"reasoning_content": "a"},
    {"role": "assistant", "content": "", "refusal": None}, {"tool_calls": [{"index": 0}]},
])  # fmt: skip
DELTAS = USUAL_DELTAS | st.just({"content": [{"text": "a"}]})
USUAL_LOGPROBS = st.none() | st.lists(st.sampled_from(ENTRIES), max_size=3).map(
    lambda listed: {"content": listed, "refusal": None}
)
LOGPROBS = USUAL_LOGPROBS | st.just({"content": None})
MORE: st.SearchStrategy[Document] = st.sampled_from([
    {}, {"usage": None}, {"usage": USAGE}, {"id": "s"}, {"model": "n"}, {"created": 1_760_000_009},
    {"driftgauge": {"domain": "d"}}, {"object": ""}, {"metadata": {"domain": "e"}}, {"id": ""}, {"error": "bad"},
])  # fmt: skip
FINISHES = st.sampled_from([None, None, "stop", "stop", "stop", "error", ""])
INDICES = st.sampled_from([0, 0, 0, 1, 2])


@st.composite
def streams(draw: st.DrawFn, n_unusual: int) -> list[Document]:
    """Streams with so many events that differ from those of a usual stream."""
    index = draw(INDICES)
    pieces = draw(st.lists(st.tuples(USUAL_DELTAS, USUAL_LOGPROBS), min_size=1, max_size=6))
    documents = [piece(delta, logprobs, index=index) for delta, logprobs in pieces]
    ends: list[Document] = [{}, {"usage": USAGE}, {"usage": {**USAGE, "completion_tokens": 0}}]
    end = draw(st.sampled_from(ends))
    documents.append(piece({}, finish_reason=draw(FINISHES), index=index, **end))
    documents += draw(st.sampled_from([[], [without_choice(usage=USAGE)], [without_choice(usage=USAGE, id="")]]))
    documents = draw(st.sampled_from([[], [without_choice(id="", object="", prompt_filter_results=[])]])) + documents
    for _ in range(n_unusual):
        place = draw(st.integers(0, len(documents)))
        other = piece(draw(DELTAS), draw(LOGPROBS), draw(FINISHES), draw(INDICES), **draw(MORE))
        documents.insert(place, other)
    return documents


def is_read_at_once(documents: list[Document]) -> bool:
    try:
        return len(documents) > 2 and bool(read_stream([json.dumps(document).encode() for document in documents]))
    except ValueError:
        return False


def slow(documents: list[Document]) -> list[Document]:
    """The same stream with a field of whole bodies, so that it is read event by event."""
    return [
        {**document, "choices": [{**choice, "message": None} for choice in document["choices"]]}
        for document in documents
    ]


def plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), np.nan_to_num(value, nan=99.0).tolist()]
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def decoded(documents: list[Document], decoder: Decoder | None = None, **options: Any) -> list[Event]:
    return (decoder or Decoder(keep_text=True)).decode([record(sse(documents), **options)])


@pytest.mark.parametrize("n_unusual", [0, 1])
@given(data=st.data(), key=st.sampled_from([b"key", None]))
def test_a_stream_read_at_once_gives_the_events_of_one_read_event_by_event(
    n_unusual: int, data: st.DataObject, key: bytes | None
) -> None:
    documents = data.draw(streams(n_unusual))
    assert not is_read_at_once(slow(documents))
    is_at_once = is_read_at_once(documents)
    event(f"read at once: {is_at_once}")
    at_once, one_by_one = decoded(documents, key=key), decoded(slow(documents), key=key)
    assert [*map(without_value, at_once)] == [*map(without_value, one_by_one)]


def without_value(of_event: Event) -> Any:
    fields_of_it = plain(of_event)
    assert isinstance(fields_of_it, dict)
    return {name: value for name, value in fields_of_it.items() if name not in ("value", "detail")}


def test_the_usual_stream_is_read_at_once() -> None:
    documents = [piece({"content": "a"}, {"content": [one]}) for one in ENTRIES]
    found = [json.dumps(document).encode() for document in [*documents, piece({}, finish_reason="stop")]]
    assert [place for place, _ in read_stream(found)] == [0]
    assert [place for place, _ in read_stream(found, "vllm")] == [0]
    assert read_stream(found, "tgi") == []


def test_the_pieces_of_a_choice_become_one_piece() -> None:
    documents = [piece({"content": "a"}, {"content": [one]}, index=i) for one in ENTRIES[:3] for i in (0, 1)]
    ends = [piece({}, finish_reason="stop", index=i) for i in (0, 1)]
    chunks = [found for found in decoded([*documents, *ends]) if isinstance(found, Chunk) and not found.is_trailer]
    assert [(c.piece.id, c.piece.signal.n_tokens, c.is_last, c.piece.text) for c in chunks] == [
        ("r", 3, True, "aaa"), ("r#1", 3, True, "aaa"),
    ]  # fmt: skip


@given(
    indices=st.lists(st.integers(0, 2), min_size=1, max_size=8),
    counts=st.lists(st.sampled_from([1, 1, 2, 0, None]), min_size=8, max_size=8),
    usage=st.booleans(),
    key=st.sampled_from([b"key", b"r"]),
)
def test_joined_pieces_make_the_response_that_they_make_apart(
    indices: list[int], counts: list[int | None], usage: bool, key: bytes
) -> None:
    documents = [
        piece(
            {"content": "a"},
            None if n is None else {"content": [*map(different, range(2 * i, 2 * i + n))]},
            index=index,
        )
        for i, (index, n) in enumerate(zip(indices, counts, strict=False))
    ]
    documents += [piece({}, finish_reason="stop", index=index) for index in sorted(set(indices))]
    documents += [without_choice(usage={**USAGE, "prompt_tokens": 99})] * usage
    together = sorted(choices_of(Decoder().decode([record(sse(documents), key)])), key=itemgetter("id"))
    lines = [json.dumps(document).encode() for document in documents] + [b"[DONE]"]
    records = [record(line, b"r", i) for i, line in enumerate(lines)]
    apart = sorted(choices_of(Decoder().decode(records)), key=itemgetter("id"))
    if len(set(indices)) == len(indices) > 1 and sorted(indices) == indices:
        return  # an index that grows with every event counts tokens: only a stream as a whole shows that
    assert len(together) == len(apart)
    for one, other in zip(together, apart, strict=True):
        for name in one.keys() - {"aliases"}:
            expected = other[name]
            assert one[name] == (pytest.approx(expected) if isinstance(expected, float) else expected), name


def different(number: int) -> Document:
    first = -0.5 - number / 64
    return entry("a", first, [("a", first), ("b", -1.5), ("c", -2.5)])


def test_numbered_pieces_stay_apart_because_their_numbers_find_the_lost_ones() -> None:
    delta = {"type": "response.output_text.delta", "item_id": "i", "delta": "x",
             "logprobs": [{"token": "x", "logprob": -0.5, "top_logprobs": []}]}  # fmt: skip
    found = decoded([{**delta, "sequence_number": n} for n in (1, 3, 4)])
    assert [each.sequence for each in found if isinstance(each, Chunk) and not each.is_trailer] == [1, 3, 4]


def test_a_setting_finds_a_name_in_any_event_of_a_joined_stream() -> None:
    documents = [piece({"content": "a"}, {"content": [one]}) for one in ENTRIES]
    documents[2]["team"] = "billing"
    names = NameRules(domain=Lookup((path_of("team"),)))
    for stream in (documents, slow(documents)):
        (first, *_) = decoded(stream, Decoder(names=names))
        assert isinstance(first, Chunk)
        assert (first.piece.domain, first.piece.signal.n_tokens) == ("billing", 4)


@pytest.mark.parametrize("names", [NameRules(response_id=(path_of("name"),)), NameRules(single_choice=True)])
def test_pieces_that_a_setting_tells_apart_are_not_joined(names: NameRules) -> None:
    documents = [piece({"content": "a"}, {"content": [one]}, name=f"n{i}") for i, one in enumerate(ENTRIES)]
    found = decoded(documents, Decoder(names=names))
    assert [each.piece.signal.n_tokens for each in found if isinstance(each, Chunk) and not each.is_trailer] == [1] * 4
