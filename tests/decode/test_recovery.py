"""Bytes that are not strict JSON: repaired and counted where that is safe, else refused with the likely cause."""

from __future__ import annotations

import base64
import gzip
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.recovery import repaired
from driftgauge.models.events import Chunk, Generation, Rejected
from tests.decode.chat import USUAL, body, chunk, entry, events, generation, reason, record

CHAT = body(entry("a", -0.5, USUAL))
RAW = json.dumps(CHAT).encode()
PRETTY = json.dumps(CHAT, indent=1).encode()


def refusal(value: bytes) -> str:
    (found,) = events(value)
    assert isinstance(found, Rejected), found
    assert found.reason == "malformed"
    return found.detail


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(encoding: str) -> None:
    assert generation(RAW.decode().encode(encoding)).id == "r"


@pytest.mark.parametrize(
    "prefix", [b"\x00\x00\x00\x00\x07", b"\x00" + bytes(8), b"\x01" + bytes(16), b"\x03\x00" + bytes(16)]
)
def test_the_prefix_of_a_schema_registry_before_json_is_passed_over(prefix: bytes) -> None:
    assert generation(prefix + RAW).id == "r"


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"", "empty"),
        (gzip.compress(RAW, mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstandard"),
        (RAW.decode().encode("utf-16-le"), "UTF-16"),
        (RAW.decode().encode("utf-16-be"), "UTF-16"),
        (b"\x00\x00\x00\x00\x07\x06foo\x02", "schema registry"),
        (msgspec.msgpack.encode(CHAT), "MessagePack"),
        (repr(CHAT).encode(), "single quotes"),
        (RAW.replace(b"-0.5", b"None"), "None"),
        (RAW[:-1] + b",}", "trailing comma"),
        (RAW.replace(b'"a"', b'"a\n"'), "invalid character (byte"),
        (RAW[:-20], "cut off"),
        (b'{"id": "cut', "cut off"),
        (b"<html></html>", "XML or HTML"),
        (RAW.replace(b'"r"', b'"\xff"'), "not UTF-8"),
        (b"hello", "neither"),
        (b"\xff\xfea", "UTF-16"),
        (b"[]", "empty array"),
    ],
)
def test_a_refusal_names_the_likely_cause(value: bytes, cause: str) -> None:
    assert cause in refusal(value)


@pytest.mark.parametrize(
    "literal",
    ["NaN", "Infinity", "-Infinity", "nan", "-nan", "inf", "-Inf", "INF", "NAN", "1e999", "-1e400", "9" * 5000],
)
def test_a_literal_that_json_lacks_costs_its_field_only(literal: str) -> None:
    value = RAW[:-1] + b', "metadata": {"rate": ' + literal.encode() + b"}}"
    found = generation(value)
    assert found.signal.n_tokens == 1
    assert found.problems["nan_literal"] == 1


def test_a_literal_in_a_text_stays() -> None:
    assert repaired(b'{"a": "NaN, \\"-Infinity\\" 1e999", "b": NaN}') == [
        (b'{"a": "NaN, \\"-Infinity\\" 1e999", "b": null}', 1)
    ]


def test_half_of_a_surrogate_pair_costs_one_character_only() -> None:
    value = RAW.replace(b'"token": "a"', b'"token": "\\ud83d"')
    found = generation(value)
    assert found.signal.n_tokens == 1
    assert found.problems["nan_literal"] > 0
    assert repaired(b'"\\\\ud83d \\ud83d\\ude00 \\ude00"') == [(b'"\\\\ud83d \\ud83d\\ude00 \\ufffd"', 1)]


def test_a_chosen_nan_is_missing() -> None:
    found = generation(RAW.replace(b'"token": "a", "logprob": -0.5, "top', b'"token": "a", "logprob": NaN, "top'))
    assert found.signal.problems["null_logprob"] == 1


def test_a_label_that_is_nan_withdraws_nothing() -> None:
    label = (
        b'{"type": "label", "label_id": "b", "response_id": "r", "event_time": 1.7e9, "correct": %s, "supersedes": "a"}'
    )
    (found,) = events(label % b"NaN")
    assert isinstance(found, Rejected)
    assert found.reason == "invalid_value"
    assert not isinstance(events(label % b"null")[0], Rejected)


BASE64 = [base64.b64encode(RAW), base64.urlsafe_b64encode(RAW).rstrip(b"="), base64.encodebytes(RAW)]


@pytest.mark.parametrize("packed", BASE64)
def test_json_in_base64_is_read(packed: bytes) -> None:
    for value in (packed, json.dumps(packed.decode()).encode(), json.dumps({"n": 1, "body": packed.decode()}).encode(),
                  json.dumps({"op": "c", "source": {}, "after": {"body": packed.decode()}}).encode(),
                  json.dumps({"specversion": "0.3", "id": "e", "data": packed.decode()}).encode()):  # fmt: skip
        assert generation(value).id == "r"


def test_json_inside_several_json_strings_is_read() -> None:
    assert generation(json.dumps(json.dumps(RAW.decode())).encode()).id == "r"


# --- spellings -------------------------------------------------------------------------------------------------------


SPELLINGS = [
    (b"log_prob", b"top_logprobs", b"logprobs"), (b"logProb", b"topLogprobs", b"logprobs"),
    (b"logprob", b"topLogProbs", b"logProbs"), (b"log_probability", b"top_log_probs", b"log_probs"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "top", "whole"), SPELLINGS)
def test_fields_of_log_probabilities_are_read_in_other_spellings(one: bytes, top: bytes, whole: bytes) -> None:
    def spelt(value: object) -> bytes:
        text = json.dumps(value).encode().replace(b'"logprob"', b'"%s"' % one)
        return text.replace(b'"top_logprobs"', b'"%s"' % top).replace(b'"logprobs"', b'"%s"' % whole)

    expected, found = generation(CHAT).signal, generation(spelt(CHAT)).signal
    assert found.chosen_logprobs is not None
    assert expected.chosen_logprobs is not None
    assert found.top_logprobs is not None
    assert expected.top_logprobs is not None
    assert found.chosen_logprobs.tolist() == expected.chosen_logprobs.tolist()
    assert found.top_logprobs.tolist() == expected.top_logprobs.tolist()
    (piece,) = events(spelt(chunk(entry("a", -0.5, USUAL))))
    assert isinstance(piece, Chunk)
    assert piece.piece.signal.n_tokens == 1


def test_answers_of_gemini_are_read_as_its_client_for_python_writes_them() -> None:
    token = {"token": "a", "token_id": 1, "log_probability": -0.5}
    result = {"chosen_candidates": [token], "top_candidates": [{"candidates": [token]}]}
    candidate = {"content": {"parts": [{"text": "a"}]}, "finish_reason": "STOP", "logprobs_result": result}
    usage = {"candidates_token_count": 1, "prompt_token_count": 2}
    found = generation({"candidates": [candidate], "usage_metadata": usage, "response_id": "g", "model_version": "m"})
    assert (found.id, found.context.model, found.finish_reason, found.signal.n_tokens) == ("g", "m", "STOP", 1)
    assert (found.n_completion_tokens, found.problems["default_domain"]) == (1, 1)
    assert found.signal.chosen_logprobs is not None
    assert found.signal.chosen_logprobs.tolist() == [-0.5]


def test_log_probabilities_at_an_unknown_place_are_a_problem_of_their_own() -> None:
    (choice,) = CHAT["choices"]
    listed = {"index": 0, "finish_reason": "stop", "message": {"content": "a", "logprobs": choice["logprobs"]}}
    without = {"index": 0, "finish_reason": "stop", "message": {"content": "a"}, "logprobs": None}
    of_prompt = {"prompt_logprobs": [None, {"1": {"logprob": -1.5}}]}
    assert generation({**CHAT, "choices": [listed]}).problems["logprobs_not_read"] == 1
    for asked_not in ({**CHAT, "choices": [without]}, {**CHAT, "choices": [without], **of_prompt}):
        assert generation(asked_not).signal.problems == {"not_requested": 1}


def other(value: bytes, name: str) -> bytes:
    return value.replace(b'"id": "r"', b'"id": "%s"' % name.encode())


@pytest.mark.parametrize(
    "value",
    [
        RAW + other(RAW, "s"),
        RAW + b" " + other(RAW, "s"),
        RAW + b"," + other(RAW, "s"),
        RAW + b",\n" + other(PRETTY, "s") + b",\n",
        RAW + b"\n\xef\xbb\xbf" + other(RAW, "s"),
        json.dumps(RAW.decode()).encode() + b"\n" + json.dumps(other(RAW, "s").decode()).encode(),
        b"data: " + RAW + b"\n" + other(RAW, "s"),
        b"data: " + RAW + b"\n\n" + other(RAW, "s") + b"\n\ndata: [DONE]\n\n",
        PRETTY + b"\n" + other(PRETTY, "s"),
        PRETTY + other(PRETTY, "s"),
        RAW + b"\n" + other(PRETTY, "s"),
        b"[" + RAW + b"][" + other(RAW, "s") + b"]",
        b"[" + RAW + b"," + other(RAW, "s") + b"]",
        b"[null, " + RAW + b"," + other(RAW, "s") + b"]",
        RAW + b"\nnull\n" + other(RAW, "s"),
        RAW + other(RAW, "s").replace(b"-0.5", b"NaN", 1),
    ],
)
def test_several_documents_in_one_record_are_read_however_they_are_written(value: bytes) -> None:
    assert [event.id for event in events(value) if isinstance(event, Generation)] == ["r", "s"]


def test_null_events_of_a_stream_are_passed_over() -> None:
    stream = b"data: null\n\ndata: " + RAW + b"\n\ndata: null\n\ndata: [DONE]\n\n"
    assert [type(event) for event in events(stream)] == [Generation, Chunk]  # the trailer of the stream


@pytest.mark.parametrize(
    "content_type",
    ['"application/json"', "application/json; charset=UTF-8", 'application/json; charset="utf-8"', "text/json",
     "application/jsonl", "", '"application/json; format=openai"'],
)  # fmt: skip
def test_a_content_type_is_read_with_quotes_and_parameters(content_type: str) -> None:
    assert generation(CHAT, **{"content-type": content_type}).id == "r"


def test_a_content_type_can_be_passed_over_by_a_setting() -> None:
    assert reason(CHAT, **{"content-type": "text/plain"}) == "unknown_content_type"
    decoder = Decoder(ignored_content_types=["text/plain", "application/octet-stream"])
    for kind in ("text/plain; charset=utf-8", "text/plain; format=flowed", "Application/Octet-Stream", '"text/plain"'):
        assert generation(CHAT, decoder=decoder, **{"content-type": kind}).id == "r"


def test_an_empty_part_of_a_record_does_not_hide_the_others() -> None:
    good, bad = events(RAW + b"\n" + b'{"hello": 1}')
    assert isinstance(good, Generation)
    assert isinstance(bad, Rejected)


def test_a_dead_letter_of_many_documents_counts_every_reason() -> None:
    lines = [b'{"hello": 1}', b'{"hello": 2}', b'{"error": "no"}', RAW]
    *_, letter = Decoder().decode([record(b"\n".join(lines))])
    assert isinstance(letter, Rejected)
    assert letter.detail.endswith("(3 of 4); also 1 error_response")


@given(
    st.lists(st.sampled_from(['"', "\\", "{", "}", "[", "]", "NaN", "1e999", "\\ud800", "a", ",", " "]), max_size=60)
)
def test_repairing_keeps_every_character_that_it_does_not_replace(parts: list[str]) -> None:
    text = "".join(parts).encode()
    found = b"".join(document for document, _ in repaired(text))
    if not any(n for _, n in repaired(text)):
        assert found.translate(None, b" ,") == text.translate(None, b" ,")  # these may stand between documents


@pytest.mark.parametrize("text", [b'"\\' * 200_000, b"{" * 200_000, b"1." * 200_000, b'"' * 200_001, b"-" * 200_000])
def test_repairing_is_linear(text: bytes) -> None:
    assert events(text)  # a quadratic pattern would take hours


def test_bytes_of_a_record_in_another_encoding_are_not_repaired() -> None:
    found = Decoder(encoding="msgpack").decode([Record("t", 0, 0, None, b'{"a": NaN}')])
    (letter,) = found
    assert isinstance(letter, Rejected)
    assert (letter.reason, letter.detail) == ("malformed", "it looks like JSON, not like MessagePack")
