"""Events of a stream that are more than one readable line: those left out, and those with several lines of data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.gateway.wire.collect import Collected
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip
from tests.decode.strategies import STREAMS, Token, entry
from tests.gateway.answers import STYLES, Style, cut, facts, read_back, through, unasked, unasked_stream

TOKEN = Token("a", 1, -0.5, (("a", 1, -0.5), ("b", 2, -1.5)))
LOGPROBS: dict[str, Any] = {"content": [entry(TOKEN)]}
HELD_BACK = {"index": 0, "delta": {}, "logprobs": LOGPROBS, "finish_reason": None, "token_ids": None}
ANSWER = STREAMS["chat"][0]([[TOKEN], [TOKEN]])


def chunk(*choices: Any, **more: Any) -> Any:
    return {"id": "c", "created": 1.76e9, "model": "m", "choices": [*choices], **more}


@given(st.lists(st.integers(0, len(ANSWER) - 1), max_size=8), st.sampled_from(STYLES), st.data())
def test_chunks_that_an_upstream_sends_only_because_it_was_asked_are_left_out(
    places: list[int], style: Style, data: st.DataObject
) -> None:
    made = [*ANSWER]
    for place in sorted(places, reverse=True):
        made.insert(place, chunk(HELD_BACK))
    stream = style.stream([*made, "[DONE]"])
    where = data.draw(st.lists(st.integers(0, len(stream)), max_size=30))
    out, found = through("chat", cut(stream, where))
    assert out == style.stream([*unasked_stream(made), "[DONE]"])
    assert out.count(b"choices") == len(ANSWER)
    assert [choice["n_tokens"] for choice in read_back(found)] == [2 + len(places)]


@pytest.mark.parametrize(
    "choices",
    [
        [{**HELD_BACK, "delta": {"tool_calls": [{"index": 0}]}}],
        [{**HELD_BACK, "delta": None}],
        [HELD_BACK, {**HELD_BACK, "index": 1, "delta": {"content": "b"}}],
    ],
    ids=["tool call", "no delta", "another choice"],
)
def test_chunks_that_say_something_stay(choices: list[Any]) -> None:
    made = chunk(*choices)
    assert through("chat", [Style().stream([made])])[0] == Style().stream([unasked(made)])


LEFT_OUT = Style().stream([chunk(HELD_BACK)]).rstrip(b"\n") + b"\n"
REPLACED = Style().stream([unasked(chunk(HELD_BACK))]).rstrip(b"\n") + b"\n"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"id: 7\n" + LEFT_OUT + b"\n", b"id: 7\n" + REPLACED + b"\n"),
        (LEFT_OUT + b"id: 7\n\n", b"id: 7\n\n"),
        (LEFT_OUT + b"data: {broken\n\n", b"data: {broken\n\n"),
        (LEFT_OUT + LEFT_OUT + b"\n", b""),
        (LEFT_OUT, b""),
    ],
    ids=["field before", "field after", "line that cannot be read after", "two documents", "end of the stream"],
)
def test_what_else_belongs_to_an_event_stays(event: bytes, expected: bytes) -> None:
    rest = b"data: [DONE]\n\n"
    found = through("chat", [event + rest])[0] if event.endswith(b"\n\n") else through("chat", [event])[0] + rest
    assert found == expected + rest


def lines_of(document: Any) -> list[bytes]:
    return [b"data: %s\n" % line.encode() for line in json.dumps(document, indent=1).split("\n")]


def test_other_fields_of_an_event_do_not_wait_for_the_end_of_its_data() -> None:
    made = chunk({"index": 0, "delta": {"content": "a"}, "logprobs": LOGPROBS, "finish_reason": "stop"})
    first, *rest = lines_of(made)
    collector = StreamCollector(facts("chat"), Memory(2**20))
    strip = StreamStrip("chat", collector, takes_out=True)
    assert strip.feed(first) == b""
    assert strip.feed(b": ping\nid: 7\n") == b": ping\nid: 7\n"
    assert strip.feed(b"".join(rest)) == b""
    assert strip.feed(b"\n") == b"".join(lines_of(unasked(made))) + b"\n"
    assert len(collector.finish().events) == 1


@given(st.lists(st.integers(0, 300), max_size=20))
def test_several_lines_that_are_no_document_pass_as_they_came(places: list[int]) -> None:
    made = chunk({"index": 0, "delta": {"content": "a"}, "logprobs": LOGPROBS})
    whole = b"data: %s\n" % json.dumps(made).encode()
    broken = b"data: {broken\r\ndata: \xff\r\n"
    out, found = through("chat", cut(broken + whole + b"\n", places))
    assert out == broken + b"data: %s\n\n" % json.dumps(unasked(made)).encode()  # a line that is a document is one
    assert found == Collected(dropped={"unreadable": 1})
    assert through("chat", cut(broken, places))[0] == broken  # also where the stream ends in the middle
