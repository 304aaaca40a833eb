"""Documents of other systems are refused as unknown, never counted as empty responses of the default domain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation, Rejected
from tests.decode.chat import USUAL, body, chunk, chunks, entry, events, generation, record

CHAT = body(entry("a", -0.5, USUAL))
FOREIGN: list[dict[str, Any]] = [
    {},
    {"choices": []},
    {"choices": ["red", "blue"]},
    {"choices": [{"text": "red"}, {"text": "blue"}], "question": "?"},
    {"choices": [{"name": "red"}], "id": "q"},
    {"object": "chat.completion", "model": "m", "choices": []},
    {"object": "chat.completion", "choices": [{"index": 0}]},
    {"type": "order", "version": 1, "items": []},
    {"type": "label", "name": "printer"},
    {"type": "generation", "name": "boomers"},
    {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "x"}], "model": "m"},
    {"type": "message_start", "message": {"id": "msg", "content": []}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "page_view", "item": {"sku": 1}},
    {"token": "eyJhbGciOi", "user": "u"},
    {"token": {"value": "x"}},
    {"details": {"code": 4}},
    {"details": []},
    {"content": "hello", "author": "bob"},
    {"content": "x", "role": "user", "stop": "no"},
    {"stop_type": "x"},
    {"output": "text"},
    {"output": [{"x": 1}]},
    {"outputs": [{"name": "score", "data": [1]}]},
    {"text_output": "x"},
    {"done": True},
    {"done": True, "task": "dishes", "message": "ok"},
    {"completions": [{"score": 4}]},
    {"candidates": []},
    {"candidates": [{"name": "Bob"}]},
    {"custom_id": "x", "name": "y"},
    {"meta_info": {"id": "b", "title": "x"}},
    {"generation": "Z", "born": 1999},
    {"text": "hi"},
    {"response": {"a": 1}, "model": "m"},
    {"message": {"text": "hello"}, "user": "u"},
    {"message": "hello"},
    {"finish_reason": "stop"},
    {"level": "info", "message": "started"},
    {"level": "error", "error": "boom", "service": "x"},
    {"level": "error", "error": {"code": 3}, "service": "x"},
    {"type": "error", "msg": "x", "host": "h"},
    {"schema": {"type": "struct"}, "payload": {"order": 1}},
    {"before": None, "after": {"id": 1}, "op": "c", "source": {}, "ts_ms": 1},
    {"specversion": "1.0", "id": "e", "type": "t", "source": "s", "data": {"order": 1}},
    {"model": "m", "messages": [{"role": "user", "content": "x"}]},
    {"object": "embedding", "embedding": [0.1]},
    {"logprobs": [{"a": 1}]},
    {"choices": None, "model": "T"},
    {"choices": [], "model": "T-shirt", "id": "x"},
    {"choices": [], "object": "poll", "usage": {}},
    {"type": "response.time", "value": 3},
    {"type": "response.completed"},
    {"type": "transcript.text.delta"},
    {"type": "message-start"},
    {"type": "content-end"},
    {"text": "hello", "logprobs": []},
    {"text": "hello", "logprobs": [{"a": 1}]},
    {"details": {"finish_reason": "x"}},
    {"meta_info": {"finish_reason": "x"}},
    {"meta_info": {"prompt_tokens": 3}},
    {"completion_probabilities": []},
    {"candidates": [{"content": "resume"}]},
    {"candidates": [{"finishReason": "hired"}], "job": "x"},
    {"output": [{"x": 1}], "status": "ok"},
    {"output": [], "status": "done", "object": "job"},
    {"done": True, "model": "T", "message": "x"},
    {"finish_reason": "x", "message": {"content": "c", "role": "author"}},
    {"custom_id": "x", "response": {"body": None}},
    {"response": None, "model_parameters": {}},
    {"op": "u", "after": None, "patch": "{}", "source": {}},
    {"op": "c", "after": None, "source": {}},
]


@pytest.mark.parametrize("document", FOREIGN, ids=lambda document: json.dumps(document)[:60])
def test_a_foreign_document_is_of_unknown_format(document: dict[str, Any]) -> None:
    (found,) = events(document)
    assert isinstance(found, Rejected), found
    assert found.reason == "unknown_format"


@pytest.mark.parametrize("document", FOREIGN, ids=lambda document: json.dumps(document)[:60])
@pytest.mark.parametrize("format_name", ["openai", "ollama", "llama_cpp", "cohere"])
def test_a_foreign_document_is_refused_where_a_format_is_configured_too(
    document: dict[str, Any], format_name: str
) -> None:
    (found,) = events(document, decoder=Decoder(format=format_name))
    assert isinstance(found, Rejected), found


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "overloaded", "type": "server_error"}},
        {"error": "out of memory", "error_type": "generation"},
        {"object": "error", "message": "bad request", "code": 400},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {**CHAT, "error": {"code": 502, "message": "provider"}},
        {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "response": "", "error": "x"},
        {"id": "b", "custom_id": "c", "response": None, "error": {"code": "x"}},
    ],
    ids=lambda document: json.dumps(document)[:60],
)
def test_an_error_of_a_model_server_is_an_error_response(document: dict[str, Any]) -> None:
    (found,) = events(document)
    assert isinstance(found, Rejected), found
    assert found.reason == "error_response"


@pytest.mark.parametrize(
    "reason",
    ["error", "abort", "ABORTED", "cancelled", "timeout", "network_error", "server-error", "request_timeout",
     "cancelled_by_user", "client_disconnect", "engine.failed", "insufficient_system_resource"],
)  # fmt: skip
def test_a_response_that_ended_with_an_error_is_no_answer(reason: str) -> None:
    choice = {**CHAT["choices"][0], "finish_reason": reason}
    own = {"type": "generation", "id": "r", "event_time": 1.7e9, "finish_reason": reason,
           "signal": {"chosen_logprobs": [-0.5]}}  # fmt: skip
    for document in ({**CHAT, "choices": [choice]}, own):
        (found,) = events(document)
        assert isinstance(found, Rejected), found
        assert found.reason == "error_response"


@pytest.mark.parametrize("reason", ["stop", "terror", "content_filter", "failsafe", "MALFORMED_FUNCTION_CALL"])
def test_a_response_that_ended_in_another_way_is_an_answer(reason: str) -> None:
    assert generation(body(entry("a", -0.5, USUAL)) | {"choices": [{**CHAT["choices"][0], "finish_reason": reason}]})


@pytest.mark.parametrize("word", ["null", "None", ""])
def test_a_word_for_nothing_is_no_end(word: str) -> None:
    first, last = chunk(entry("a", -0.5, USUAL), finish=word), chunk(entry("b", -0.5, USUAL), finish="stop")
    pieces = chunks(first, last)
    assert [piece.is_last for piece in pieces] == [False, True]


def test_the_good_choice_beside_one_that_ended_with_an_error_is_read() -> None:
    value = {**CHAT, "choices": [CHAT["choices"][0], {**CHAT["choices"][0], "index": 1, "finish_reason": "error"}]}
    good, bad = events(value)
    assert isinstance(good, Generation)
    assert isinstance(bad, Rejected)
    assert (good.id, bad.reason) == ("r#0", "error_response")


def test_a_model_that_was_only_loaded_gave_no_answer() -> None:
    document = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": "", "done": True, "done_reason": "load"}
    (found,) = events(document)
    assert isinstance(found, Rejected)
    assert found.reason == "error_response"


@pytest.mark.parametrize(
    "document",
    [
        {"value": CHAT, "n": 1},
        {"items": [CHAT, {**CHAT, "id": "s"}]},
        {"schema": {}, "payload": {"n": 1, "body": CHAT}},
        {"before": None, "after": {"n": 1, "body": CHAT}, "op": "c", "source": {}},
        {"specversion": "1.0", "id": "e", "data": {"answer": CHAT}},
        {"schema": {}, "payload": {"before": None, "after": {"n": 1, "body": CHAT}, "op": "c", "source": {}}},
    ],
)
def test_the_field_that_a_refusal_names_is_the_one_to_configure(document: dict[str, Any]) -> None:
    (refused,) = events(document)
    assert isinstance(refused, Rejected)
    path = refused.detail.split("the field ")[1].split(" holds openai")[0]
    (found, *_) = events(document, decoder=Decoder(payload_path=path))
    assert isinstance(found, Generation)
    assert found.id == "r"


# --- wrapped ---------------------------------------------------------------------------------------------------------

WRAPPED: dict[str, Any] = {
    "kafka_connect": {"schema": {"type": "struct"}, "payload": CHAT},
    "kafka_connect_without_schema": {"schema": None, "payload": CHAT},
    "kafka_connect_text": {"schema": {"type": "string"}, "payload": json.dumps(CHAT)},
    "debezium": {"before": None, "after": {"id": 1, "body": json.dumps(CHAT)}, "op": "c", "ts_ms": 1, "source": {}},
    "debezium_row": {"before": None, "after": CHAT, "op": "r", "ts_ms": 1, "source": {}},
    "debezium_in_kafka_connect": {
        "schema": {}, "payload": {"before": None, "after": {"body": json.dumps(CHAT)}, "op": "u", "source": {}},
    },
    "text_in_a_field": {"@timestamp": "2026-01-01", "host": "h", "message": json.dumps(CHAT)},
    "text_in_a_field_beside_the_request": {"request": json.dumps({"model": "m", "messages": []}),
                                           "response": json.dumps(CHAT)},
    "text": json.dumps(CHAT),
    "own_event_in_kafka_connect": {"schema": {}, "payload": {
        "type": "generation", "id": "r", "event_time": 1.7e9, "signal": {"chosen_logprobs": [-0.5]}}},
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_payload_is_unwrapped(name: str) -> None:
    assert generation(WRAPPED[name]).id == "r"


def test_a_wrapped_payload_is_unwrapped_where_its_format_is_configured() -> None:
    for name in ("kafka_connect", "debezium", "text_in_a_field"):
        assert generation(WRAPPED[name], decoder=Decoder(format="openai")).id == "r"


def test_a_deletion_is_a_tombstone() -> None:
    assert events({"before": {"id": 1}, "after": None, "op": "d", "ts_ms": 1, "source": {}}) == []
    assert events({"schema": None, "payload": None}) == []
    assert events(b"null") == []


def test_an_object_in_an_unknown_record_is_named_in_the_refusal_and_read_by_a_setting() -> None:
    wrapped = {"app": "x", "result": {"body": CHAT}}
    (refused,) = events({"app": "x", "result": CHAT})
    assert isinstance(refused, Rejected)
    assert "result holds openai" in refused.detail
    assert "decode.payload" in refused.detail
    assert generation(wrapped, decoder=Decoder(payload_path="result.body")).id == "r"
    assert generation({"result": {"body": json.dumps(CHAT)}}, decoder=Decoder(payload_path="result.body")).id == "r"
    assert generation(CHAT, decoder=Decoder(payload_path="result.body")).id == "r"


def test_two_texts_with_known_formats_are_not_guessed_between() -> None:
    (refused,) = events({"first": json.dumps(CHAT), "second": json.dumps(CHAT)})
    assert isinstance(refused, Rejected)
    assert "several" in refused.detail


def test_records_inside_each_other_are_bounded() -> None:
    value: Any = CHAT
    for _ in range(50):
        value = {"schema": None, "payload": value}
    (refused,) = Decoder().decode([record(value)])
    assert isinstance(refused, Rejected)
    assert "inside each other" in refused.detail
