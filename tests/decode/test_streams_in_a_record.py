"""A whole stream in one record: what its events say is held against each other before they become pieces."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of
from driftgauge.models.events import Chunk, Event, Rejected
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from tests.decode.chat import OTHER, USUAL, body, chunk, entry

ENTRIES = [entry("a", -0.5, USUAL), entry("b", -1.4, OTHER), entry("c", -2.5, USUAL)]
DONE = "[DONE]"


def sse(*documents: Any) -> bytes:
    lines = (document if document == DONE else json.dumps(document) for document in documents)
    return b"".join(b"data: " + line.encode() + b"\n\n" for line in lines)


def decoded(value: bytes, key: bytes | None = b"key") -> list[Event]:
    return Decoder().decode([Record("t", 0, 0, key, value, timestamp=1.7e9)])


def read(value: bytes, key: bytes | None = b"key") -> list[dict[str, Any]]:
    return list(choices_of(decoded(value, key)))


def refused(value: bytes) -> list[str]:
    return [event.reason for event in decoded(value) if isinstance(event, Rejected)]


def with_id(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {**document, "id": name}


def at(document: dict[str, Any], index: int) -> dict[str, Any]:
    return {**document, "choices": [{**document["choices"][0], "index": index}]}


def stream(*finish: dict[str, Any]) -> list[dict[str, Any]]:
    return [*map(chunk, ENTRIES), chunk(finish="stop"), *finish]


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_has_usage_id", [True, False])
def test_events_with_an_id_each_are_one_response(first_has_usage_id: bool) -> None:
    events = [with_id(event, f"c{i}") for i, event in enumerate(stream())]
    usage: dict[str, Any] = {
        "id": "c3" if first_has_usage_id else "c9",
        "choices": [],
        "usage": {"completion_tokens": 3},
        "model": "m",
    }
    (choice,) = read(sse(*events, usage, DONE))
    assert (choice["id"], choice["n_logprobs"], choice["complete"]) == ("c0", 3, True)
    assert choice["problems"] == {"changing_id": 1}
    assert choice["coverage"] == 1.0
    assert "key" in choice["aliases"]


@pytest.mark.parametrize("as_lines", [True, False])
def test_events_in_an_array_or_lines_are_one_response_where_the_last_piece_ends_it(as_lines: bool) -> None:
    events = [with_id(event, f"c{i}") for i, event in enumerate(stream())]
    value = b"\n".join(json.dumps(event).encode() for event in events) if as_lines else json.dumps(events).encode()
    (choice,) = read(value)
    assert (choice["n_logprobs"], choice["complete"]) == (3, True)


def test_events_of_a_step_that_share_an_id_are_one_response() -> None:
    events = [with_id(event, f"c{i // 2}") for i, event in enumerate([chunk(), *stream()])]
    (choice,) = read(sse(*events, DONE))
    assert (choice["id"], choice["n_logprobs"], choice["complete"]) == ("c0", 3, True)
    cut_off_before = [with_id(event, "a") for event in stream()[:2]]
    found = read(sse(*cut_off_before, *stream(), DONE))
    assert [(choice["id"], choice["complete"]) for choice in found] == [("r", True), ("a", False)]


def test_a_second_stream_under_the_same_id_is_seen() -> None:
    (choice,) = read(sse(*stream(), DONE, chunk(ENTRIES[0]), chunk(finish="stop"), DONE))
    assert choice["problems"] == {"piece_after_end": 1}


def test_pieces_of_many_responses_in_one_record_stay_apart() -> None:
    events = [with_id(chunk(ENTRIES[0]), "r1"), with_id(chunk(ENTRIES[1]), "r2"), with_id(chunk(ENTRIES[2]), "r3")]
    assert {choice["id"] for choice in read(json.dumps(events).encode())} == {"r1", "r2", "r3"}


def test_two_streams_with_ids_of_their_own_stay_apart() -> None:
    one, other = stream(), [with_id(event, "s") for event in stream()]
    for value in (sse(*one, DONE, *other, DONE), sse(*one, *other, DONE)):
        found = sorted((choice["id"], choice["n_logprobs"], len(choice["problems"])) for choice in read(value))
        assert found == [("r", 3, 0), ("s", 3, 0)]


# --- index -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("end_index", [0, 9])
def test_an_index_that_counts_tokens_is_no_choice(start: int, end_index: int) -> None:
    events = [at(chunk(e), start + i) for i, e in enumerate(ENTRIES)]
    (choice,) = read(sse(*events, at(chunk(finish="stop"), end_index), DONE))
    assert (choice["n_logprobs"], choice["complete"]) == (3, True)
    assert choice["problems"] == {"index_counts_tokens": 1}


def test_choices_that_come_one_after_the_other_are_no_token_numbers() -> None:
    events = [at(chunk(e, finish="stop"), i) for i, e in enumerate(ENTRIES)]
    assert [choice["id"] for choice in read(sse(*events, DONE))] == ["r", "r#1", "r#2"]


def test_choices_that_alternate_stay_apart() -> None:
    events = itertools.chain.from_iterable((at(event, 0), at(event, 1)) for event in stream())
    assert [(c["id"], c["n_logprobs"]) for c in read(sse(*events, DONE))] == [("r", 3), ("r#1", 3)]


@pytest.mark.parametrize(
    "finish",
    [
        [chunk(finish="stop")],
        [chunk(ENTRIES[0]), chunk(finish="stop")],
        [chunk(ENTRIES[0], finish="stop")],
    ],
)
def test_a_choice_that_goes_on_after_its_end_is_refused(finish: list[dict[str, Any]]) -> None:
    value = sse(*stream(), *finish, DONE)
    assert refused(value) == ["ambiguous_choices"]
    assert read(value) == []


def test_an_end_that_comes_again_with_the_token_counts_is_one_end() -> None:
    again = {**chunk(finish="stop"), "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    (choice,) = read(sse(*stream(again), DONE))
    assert (choice["n_logprobs"], choice["problems"], choice["coverage"]) == (3, {}, 1.0)


def test_choices_that_share_an_index_in_one_event_are_told_apart_by_their_place() -> None:
    two = body(ENTRIES[0])
    two["choices"] = [two["choices"][0], two["choices"][0]]
    two["usage"]["completion_tokens"] = 2
    found = read(json.dumps(two).encode())
    assert [(choice["id"], choice["problems"]) for choice in found] == [
        ("r#0", {"repeated_index": 1}), ("r#1", {"repeated_index": 1}),
    ]  # fmt: skip


def test_a_piece_after_the_end_of_a_response_is_counted_where_records_come_apart() -> None:
    assembly = Assembly(AssemblySettings())
    found = [event for event in Decoder().decode([
        Record("t", 0, i, b"key", json.dumps(event).encode(), timestamp=1.7e9)
        for i, event in enumerate([*stream(), chunk(ENTRIES[0])])
    ]) if isinstance(event, Chunk)]  # fmt: skip
    for event in found:
        assembly.completed_by(event)
    (response,) = assembly.in_flight.values()
    assert response.counts.problems == {"piece_after_end": 1}
    assert response.counts.n_logprobs == 3


@pytest.mark.parametrize("start", [0, 1])
def test_tokens_are_numbered_from_0_or_from_1(start: int) -> None:
    events: list[dict[str, Any]] = [
        {"index": start + i, "token": {"id": i, "text": "t", "logprob": -0.5}, "generated_text": None, "details": None}
        for i in range(3)
    ]
    events[-1] |= {"generated_text": "ttt", "details": {"finish_reason": "length", "generated_tokens": 3}}
    (choice,) = read(sse(*events))
    assert (choice["n_logprobs"], choice["coverage"], choice["problems"]) == (3, 1.0, {})


# --- ends, echoes, counts --------------------------------------------------------------------------------------------


def test_a_stream_that_ended_with_an_error_leaves_nothing_behind() -> None:
    value = sse(*map(chunk, ENTRIES), chunk(finish="error"), DONE)
    assert refused(value) == ["error_response"]
    assert [event for event in decoded(value) if isinstance(event, Chunk) and not event.is_trailer] == []


def test_the_other_choice_of_a_stream_survives_the_error_of_one() -> None:
    bad = [at(event, 1) for event in (chunk(ENTRIES[0]), chunk(finish="error"))]
    (choice,) = read(sse(*stream(), *bad, DONE))
    assert (choice["id"], choice["n_logprobs"]) == ("r", 3)


def completions(tokens: list[str], values: list[float | None], finish: str | None = None, **more: Any) -> Any:
    logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": [None if v is None else {t: v, "~": v - 1}
                for t, v in zip(tokens, values, strict=True)]}  # fmt: skip
    choice = {"index": 0, "text": "".join(tokens), "logprobs": logprobs, "finish_reason": finish}
    return {"id": "c", "object": "text_completion", "model": "m", "choices": [choice], **more}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


@pytest.mark.parametrize("throughout", [True, False])
def test_an_echo_at_the_start_of_a_stream_is_cut_by_the_counts(throughout: bool) -> None:
    first = completions(["The", " sky", " is"], [None, -5.0, -0.5], **(usage(2, 1) if throughout else {}))
    last = completions([" blue"], [-1.5], "stop", **(usage(2, 2) if throughout else {}))
    trailer = {"id": "c", "object": "text_completion", "model": "m", "choices": [], **usage(2, 2)}
    (choice,) = read(sse(first, last, trailer, DONE))
    assert (choice["n_logprobs"], choice["n_missing"], choice["mean_chosen_logprob"]) == (2, 0, -1.0)
    assert choice["coverage"] == 1.0


def test_an_echo_that_fills_several_events_is_cut() -> None:
    events = [completions(["The"], [None]), completions([" sky"], [-5.0]), completions([" is"], [-0.5]),
              completions([" blue"], [-1.5], "stop")]  # fmt: skip
    trailer = {"id": "c", "object": "text_completion", "model": "m", "choices": [], **usage(2, 2)}
    (choice,) = read(sse(*events, trailer, DONE))
    assert (choice["n_logprobs"], choice["n_missing"], choice["mean_chosen_logprob"]) == (2, 0, -1.0)


def test_nothing_is_cut_where_the_counts_are_those_of_one_of_several_choices() -> None:
    value = completions([" blue", " green", " red"], [-0.5, -1.5, -1.0], "stop", **usage(1, 3))
    value["choices"] = [value["choices"][0], {**value["choices"][0], "index": 1}]
    found = read(json.dumps(value).encode())
    assert [choice["n_logprobs"] for choice in found] == [3, 3]
    assert [choice["coverage"] for choice in found] == [1.0, None]
    assert found[0]["problems"]["usage_of_one_choice"] == 1


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": 3, "completion_tokens": 0},
        {"prompt_tokens": 2, "completion_tokens": -1},
        {"prompt_tokens": 2, "completion_tokens": 1},
        {"prompt_tokens": 1},
    ],
)
def test_counts_that_are_wrong_cut_no_token(counts: dict[str, int]) -> None:
    whole = body(*ENTRIES) | {"usage": counts}
    trailer = {"id": "r", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": counts}
    for value in (json.dumps(whole).encode(), sse(*stream(), trailer, DONE)):
        (choice,) = read(value)
        assert choice["n_logprobs"] == 3


def test_counts_on_every_event_do_not_make_the_last_one_a_whole_body() -> None:
    events = [completions([text], [-0.5], "length" if text == "c" else None, **usage(2, n))
              for n, text in enumerate("abc", start=1)]  # fmt: skip
    (choice,) = read(sse(*events, DONE))
    assert (choice["n_logprobs"], choice["id"], choice["complete"]) == (3, "c", True)
    apart = Decoder().decode([Record("t", 0, i, b"k", json.dumps(event).encode()) for i, event in enumerate(events)])
    assert [choice["n_logprobs"] for choice in choices_of(apart)] == [3]


def test_a_last_event_with_counts_and_no_tokens_does_not_replace_the_others() -> None:
    end = {"id": "c", "object": "text_completion", "model": "m", **usage(2, 2),
           "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]}  # fmt: skip
    events = [completions(["a"], [-0.5]), completions(["b"], [-1.5]), end]
    for value in (sse(*events, DONE), json.dumps(events).encode()):
        (choice,) = read(value)
        assert (choice["n_logprobs"], choice["complete"]) == (2, True)


# --- a stream and its body agree -------------------------------------------------------------------------------------

_ROWS = st.lists(
    st.sampled_from([("a", -0.5, USUAL), ("b", -1.4, OTHER), ("z", 0.0, None), ("y", -0.25, None), ("one", -0.5, 1)]),
    min_size=1, max_size=6,
)  # fmt: skip


def _entry(text: str, logprob: float, top: Any) -> dict[str, Any]:
    return entry(text, logprob, [(text, logprob)] if top == 1 else top)


@given(rows=_ROWS, cuts=st.lists(st.booleans(), min_size=6, max_size=6), in_one_record=st.booleans())
def test_the_rules_for_whole_responses_agree_for_a_stream(
    rows: list[tuple[str, float, Any]], cuts: list[bool], in_one_record: bool
) -> None:
    entries = [_entry(*row) for row in rows]
    pieces: list[list[dict[str, Any]]] = [[]]
    for one, is_cut in zip(entries, cuts, strict=False):
        pieces[-1].append(one)
        if is_cut:
            pieces.append([])
    events = [*(chunk(*piece) for piece in pieces if piece), chunk(finish="stop")]
    if in_one_record:
        (streamed,) = read(sse(*events, DONE))
    else:
        records = [Record("t", 0, i, b"k", json.dumps(event).encode()) for i, event in enumerate(events)]
        (streamed,) = choices_of(Decoder().decode(records))
    (whole,) = read(json.dumps(body(*entries)).encode())
    for name in ("n_tokens", "n_logprobs", "n_missing", "k", "mean_chosen_logprob", "mean_entropy", "mean_tail_mass"):
        expected = whole[name] if name in ("k", "n_tokens") else whole[name] and pytest.approx(whole[name])
        assert streamed[name] == expected, name
    counted = ("not_computed", "single_alternative")
    assert {n: streamed["problems"].get(n) for n in counted} == {n: whole["problems"].get(n) for n in counted}


def test_with_one_alternative_the_chosen_token_alone_counts() -> None:
    (choice,) = read(json.dumps(body(entry("x", -7.0, [("x", -7.0)]), entry("a", -0.1, [("a", -0.1)]))).encode())
    assert choice["mean_entropy"] is None
    assert choice["problems"] == {"single_alternative": 2}
    assert choice["mean_chosen_logprob"] == pytest.approx(-3.55)


def test_a_zero_without_alternatives_is_a_certain_token_where_no_token_has_any() -> None:
    (choice,) = read(json.dumps(body(entry("a", 0.0), entry("b", -0.5))).encode())
    assert (choice["n_logprobs"], choice["problems"]) == (2, {})
