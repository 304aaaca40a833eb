"""The pure core of the gateway: the client's bytes, and the events that become of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.agent.gateway.wire.collect import Collected
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip, strip_body
from tests.decode.payloads import Fixture
from tests.decode.strategies import BODIES, STREAMS, Token, fair_tokens, pieces
from tests.gateway.answers import (
    STYLES,
    Style,
    api_of,
    body_through,
    cut,
    documents,
    facts,
    read_back,
    read_raw,
    recorded,
    through,
    unasked,
    unasked_stream,
)

STREAMED, WHOLE = recorded(".sse"), recorded(".json")
NUMBERS = ("mean_chosen_logprob", "mean_entropy", "mean_tail_mass")


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal up to the rounding of float16. Counts of values that the rules leave out stay with the answer."""
    assert len(found) == len(expected)
    for ours, raw in zip(found, expected, strict=True):
        for name in ("model", "finish_reason", "n_tokens", "n_logprobs", "n_censored", "n_missing", "k", "coverage"):
            assert ours[name] == raw[name], name
        for name in NUMBERS:
            assert ours[name] == (None if raw[name] is None else pytest.approx(raw[name], abs=2e-3, rel=2e-3)), name
        assert ours["segments"].get("reasoning", 0) == raw["segments"].get("reasoning", 0)
        assert raw["id"] in (ours["id"], *ours["aliases"]) or raw["id"].startswith("t/0/0")
        assert "gw-1" in {name.partition("#")[0] for name in (ours["id"], *ours["aliases"])}


@pytest.mark.parametrize("style", STYLES, ids=["plain", "spaced", "wide", "lines"])
@pytest.mark.parametrize("fixture", STREAMED, ids=str)
def test_a_client_gets_the_stream_of_a_server_that_was_not_asked(fixture: Fixture, style: Style) -> None:
    asked, api = documents(fixture), api_of(fixture)
    stream = style.stream(asked)
    for omits_key in (False, True):
        expected = style.stream(unasked_stream(asked, omits_key=omits_key))
        assert through(api, [stream], omits_key=omits_key)[0] == expected
        assert through(api, [stream[i : i + 1] for i in range(len(stream))], omits_key=omits_key)[0] == expected


@pytest.mark.parametrize("fixture", STREAMED, ids=str)
def test_the_event_of_a_stream_is_what_the_agent_makes_of_it(fixture: Fixture) -> None:
    stream = fixture.path.read_bytes()
    _, found = through(api_of(fixture), [stream])
    assert_same(read_back(found), read_raw(stream))


@pytest.mark.parametrize("fixture", WHOLE, ids=str)
@pytest.mark.parametrize("omits_key", [False, True])
def test_a_client_gets_the_body_of_a_server_that_was_not_asked(fixture: Fixture, omits_key: bool) -> None:
    tree, api = json.loads(fixture.path.read_bytes().replace(b"NaN", b"null")), api_of(fixture)
    for style in (*STYLES, Style(indent=2)):
        expected = style.dump(unasked(tree, omits_key=omits_key))
        assert strip_body(api, style.dump(tree).encode(), omits_key=omits_key).decode() == expected


@pytest.mark.parametrize("fixture", WHOLE, ids=str)
def test_the_event_of_a_body_is_what_the_agent_makes_of_it(fixture: Fixture) -> None:
    body = fixture.path.read_bytes().replace(b"NaN", b"null")
    assert_same(read_back(body_through(api_of(fixture), body)[1]), read_raw(body))


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[Api, list[Any], Style, list[int]]:
    api: Api = draw(st.sampled_from(["chat", "completions", "responses"]))
    tokens = draw(fair_tokens(min_size=1, max_size=40))
    made = STREAMS[api][0](pieces(tokens, draw(st.lists(st.integers(0, 40), max_size=40))))
    style = draw(st.sampled_from(STYLES))
    places = draw(st.lists(st.integers(0, len(style.stream(made))), max_size=30))
    return api, made, style, places


@settings(deadline=None, max_examples=60)
@given(cut_streams())
def test_neither_bytes_nor_events_depend_on_where_a_stream_is_cut(
    drawn: tuple[Api, list[Any], Style, list[int]],
) -> None:
    api, made, style, places = drawn
    stream = style.stream(made)
    out, found = through(api, cut(stream, places))
    assert out == style.stream(unasked_stream(made))
    assert found == through(api, [stream])[1]
    assert_same(read_back(found), read_raw(style.stream(made).replace(b"\r", b"\n")))


EMPTY = {"index": 0, "delta": {}, "finish_reason": None, "logprobs": {"content": []}}


@pytest.mark.parametrize(
    ("choice", "more", "stays"),
    [
        ({}, {}, False),
        ({"logprobs": None}, {}, True),  # the server sent it unasked
        ({"delta": {"content": ""}}, {}, True),
        ({"delta": {"role": "assistant"}}, {}, True),
        ({"finish_reason": "stop"}, {}, True),
        ({"token_ids": [7]}, {}, True),
        ({}, {"usage": {"completion_tokens": 3}}, True),
    ],
)
def test_a_chunk_that_holds_log_probabilities_alone_is_left_out(
    choice: dict[str, Any], more: dict[str, Any], stays: bool
) -> None:
    chunk = {"id": "c", "choices": [{**EMPTY, **choice}], **more}
    stream = Style(comment=True).stream([chunk, "[DONE]"])
    assert through("chat", [Style().stream([chunk, "[DONE]"])])[0] == Style().stream(
        [unasked(chunk), "[DONE]"] if stays else ["[DONE]"]
    )
    assert through("chat", [stream], takes_out=False)[0] == stream


def test_an_event_of_several_lines_that_is_no_document_passes_as_it_came() -> None:
    event = b'data: {"choices": [\ndata: broken\n\n'
    out, found = through("chat", [event, chat_of(3)])
    assert out == event + through("chat", [chat_of(3)])[0]
    assert found == Collected(dropped={"unreadable": 1})


def test_lines_that_wait_for_their_event_are_bounded() -> None:
    collector = StreamCollector(facts("chat"), Memory(2**20))
    strip = StreamStrip("chat", collector, takes_out=True, max_line_bytes=1_000)
    lines = [b"data: {%s\n" % (b"x" * 300) for _ in range(5)]
    assert b"".join([*(strip.feed(line) for line in lines), strip.end()]) == b"".join(lines)
    assert collector.finish() == Collected(dropped={"too_large": 1})


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["chat", "completions", "responses"]), fair_tokens(min_size=1), st.sampled_from(STYLES))
def test_a_body_of_any_style_is_stripped_and_collected(api: Api, tokens: Any, style: Style) -> None:
    tree = BODIES[api](tokens)
    out, found = body_through(api, style.dump(tree).encode())
    assert out.decode() == style.dump(unasked(tree))
    assert_same(read_back(found), read_raw(style.dump(tree).encode()))


@pytest.mark.parametrize("fixture", STREAMED[:6], ids=str)
def test_an_observed_stream_keeps_every_byte_and_gives_the_same_event(fixture: Fixture) -> None:
    stream = fixture.path.read_bytes()
    pieces = [stream[i : i + 97] for i in range(0, len(stream), 97)]
    out, found = through(api_of(fixture), pieces, takes_out=False)
    assert out == stream
    assert found == through(api_of(fixture), [stream])[1]


LINE = '{"choices":[{"index":0,"delta":{"content":%s},"logprobs":%s,"finish_reason":null}]}'
ENTRY = '{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[{"token":"a","logprob":-0.5}]}]}'


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (LINE % (json.dumps('"logprobs":' + ENTRY), ENTRY), LINE % (json.dumps('"logprobs":' + ENTRY), "null")),
        (LINE % ('"a"', "[]"), LINE % ('"a"', "null")),
        (LINE % ('"a","tool_calls":[]', "[]"), LINE % ('"a","tool_calls":[]', "null")),
        (LINE % ('"a","x":' + ENTRY, ENTRY), LINE % ('"a","x":' + ENTRY, "null")),
        (f'{{"choices":[{{"index":0,"logprobs":{ENTRY}}},{{"index":1,"logprobs":{ENTRY}}}]}}',
         '{"choices":[{"index":0,"logprobs":null},{"index":1,"logprobs":null}]}'),
        (LINE % ('"\\u00e9é"', ENTRY), LINE % ('"\\u00e9é"', "null")),
    ],
    ids=["text that looks like it", "empty", "equal value before", "equal value elsewhere", "equal choices", "escapes"],
)  # fmt: skip
def test_exactly_the_values_of_the_choices_are_taken_out(asked: str, expected: str) -> None:
    assert strip_body("chat", asked.encode()).decode() == expected
    assert through("chat", [f"data: {asked}\n\n".encode()])[0].decode() == f"data: {expected}\n\n"


@pytest.mark.parametrize(
    "line",
    [b"data: {broken\n", b"data: \xff\xfe\n", b'data: {"choices": 3, "logprobs": 1}\n', b"data: [1]\n", b"\x00\n",
     b"data: " + b"[" * 100_000 + b"\n"],
)  # fmt: skip
def test_a_line_that_cannot_be_read_passes_as_it_came_and_costs_the_event(line: bytes) -> None:
    stream = Style().stream(STREAMS["chat"][0]([[token] for token in many(3)]))
    out, found = through("chat", [line, stream])
    assert out.startswith(line)
    assert len(out) < len(line + stream)  # the lines after it are still stripped
    if line != b"\x00\n":
        assert found == Collected(dropped={"unreadable": 1})


def test_invalid_utf_8_in_a_value_is_taken_out_and_costs_the_event() -> None:
    out, found = through("chat", [b'data: {"choices":[{"logprobs":{"content":"\xff"}}]}\n', chat_of(3)])
    assert out.startswith(b'data: {"choices":[{"logprobs":null}]}\n')
    assert found == Collected(dropped={"unreadable": 1})


def many(n: int) -> list[Token]:
    return [Token("a", 1, -0.5, (("a", 1, -0.5), ("b", 2, -1.5)))] * n


def chat_of(n: int) -> bytes:
    return Style().stream(STREAMS["chat"][0]([[token] for token in many(n)]))


def test_a_line_beyond_the_bound_passes_and_so_does_all_that_follows() -> None:
    collector = StreamCollector(facts("chat"), Memory(2**20))
    strip = StreamStrip("chat", collector, takes_out=True, max_line_bytes=1_000)
    stream = chat_of(2) + b'data: {"choices":[{"text":"' + b"x" * 5_000 + b'"}]}\n' + chat_of(3)
    out = b"".join(strip.feed(piece) for piece in cut(stream, range(0, len(stream), 100))) + strip.end()
    assert out.endswith(stream[len(chat_of(2)) :])
    assert len(out) < len(stream)
    assert collector.finish() == Collected(dropped={"too_large": 1})


def test_a_response_of_too_many_tokens_is_dropped_and_its_memory_released() -> None:
    memory = Memory(2**20)
    collector = StreamCollector(facts("chat"), memory, max_tokens=100)
    strip = StreamStrip("chat", collector, takes_out=True)
    out = strip.feed(chat_of(200)) + strip.end()
    assert b'"top_logprobs"' not in out
    assert memory.used_bytes == 0
    assert collector.finish() == Collected(dropped={"too_many_tokens": 1})


def test_open_streams_together_hold_no_more_than_the_bound() -> None:
    memory = Memory(210_000)
    collectors = [StreamCollector(facts("chat"), memory) for _ in range(5)]
    for collector in collectors:
        StreamStrip("chat", collector, takes_out=True).feed(chat_of(500))
        assert memory.used_bytes <= 210_000
    found = [collector.finish() for collector in collectors]
    assert [len(each.events) for each in found] == [1, 1, 1, 0, 0]
    assert found[-1].dropped == {"memory": 1}
    assert memory.used_bytes == 0


def test_a_token_takes_45_bytes_at_most() -> None:
    row = tuple((str(i), i, -0.5 - i) for i in range(20))
    tokens = [Token("0", 0, -0.5, row)] * 1_000
    _, found = through("chat", [Style().stream(STREAMS["chat"][0]([[token] for token in tokens]))])
    assert len(found.events[0].value) < 45 * 1_000


@pytest.mark.parametrize(
    ("end", "reason"), [(None, "no_end"), ("error", "error_response"), ("abort", "error_response")]
)
def test_an_answer_without_a_proper_end_gives_no_event(end: str | None, reason: str) -> None:
    made = STREAMS["chat"][0]([[token] for token in many(3)])
    for document in made:
        for choice in document["choices"]:
            choice["finish_reason"] = choice["finish_reason"] and end
    assert through("chat", [Style().stream(made)])[1] == Collected(dropped={reason: 1})


def test_an_upstream_that_ignores_being_asked_gives_no_event() -> None:
    stream = Style().stream([unasked(each) for each in STREAMS["chat"][0]([[token] for token in many(3)])])
    out, found = through("chat", [stream])
    assert out == stream
    assert found == Collected(dropped={"no_logprobs": 1})
