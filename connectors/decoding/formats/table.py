"""The table of wire formats: the keys that identify each, the struct its bytes become, and the function that reads it.

A new format is one entry here and one module beside. The entries are tested in order, so an entry may rely on those
before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from driftgauge.connectors.decoding.formats import (
    bedrock,
    cloudevents,
    cohere,
    gateways,
    gemini,
    llama_cpp,
    ollama,
    openai,
    openai_stream,
    own,
    responses,
    sglang,
    tgi,
    transcription,
    triton,
)
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.recovery import in_camel_case, respelt

Keys: TypeAlias = Mapping[str, Raw]
"""The top level of an object: names, and values that are not decoded yet."""


@dataclass(frozen=True, slots=True)
class Format:
    """One wire format.

    Attributes
    ----------
    name : the name that users write
    matches : whether an object with these keys at its top level is of this format
    wire : the struct that the bytes are decoded into
    read : from the struct to a payload, or to an own event; wrappers also take a function that reads nested bytes
    mark : bytes near the start of nearly every payload of this format
    quick : a struct for the usual case, tried on payloads with the mark before their keys are read
    event : a struct for the events of a usual stream, where it can be read at once
    stream : takes these events one by one, and makes one payload of them
    wraps : ``read`` takes a second argument, the reader of nested bodies, and gives a list
    contents : path to the body in a wrapper
    usual_spelling : from a document whose fields are spelt in another way to one that can be read; None: there is none
    """

    name: str
    matches: Callable[[Keys], bool]
    wire: Any
    read: Callable[..., Any]
    mark: bytes = b""
    quick: Any = None
    event: Any = None
    stream: Callable[[Any], Any] | None = None
    wraps: bool = False
    contents: str = ""
    usual_spelling: Callable[[bytes], bytes] | None = None


def first_of(raw: Raw) -> str:
    """The first character of a value: ``{`` of an object, ``[`` of an array, a quote of a text."""
    return chr(memoryview(raw)[0]) if len(raw) else ""


def _is(keys: Keys, name: str, kinds: str) -> bool:
    """Whether the value of this name begins with one of these characters: ``{`` object, ``[`` array, ``"`` text."""
    raw = keys.get(name)
    return raw is not None and first_of(raw) in kinds


def _array_of_objects(keys: Keys, name: str) -> bool:
    raw = keys.get(name)
    return raw is not None and _OBJECTS.match(memoryview(raw)[:64]) is not None


_OBJECTS = re.compile(rb"\[\s*[{\]]|\[\s*null")
_KEYS = msgspec.json.Decoder(dict[str, Raw])
_ARRAY = msgspec.json.Decoder(list[Raw])


def _inner(keys: Keys, name: str) -> Keys:
    """The keys of the object under this name; none where it is no object."""
    return _KEYS.decode(keys[name]) if _is(keys, name, "{") else {}


def _mentions(keys: Keys, name: str, *marks: bytes) -> bool:
    """Whether the object under this name has one of these keys; the object may be large, so it is only searched."""
    if not _is(keys, name, "{"):
        return False
    raw = bytes(keys[name])
    return any(mark in raw for mark in marks)


def _objects(keys: Keys, name: str) -> Iterator[Keys]:
    """The keys of each object in the array under this name."""
    if _array_of_objects(keys, name):
        yield from (_KEYS.decode(raw) for raw in _ARRAY.decode(keys[name]) if first_of(raw) == "{")


def _text(keys: Keys, name: str) -> str:
    return msgspec.json.decode(keys[name], type=str) if _is(keys, name, '"') else ""


def _is_own(keys: Keys) -> bool:
    marks = {"signal", "label_id", "response_id", "event_time", "version"}
    return _text(keys, "type") in own.TYPES and not keys.keys().isdisjoint(marks)


def _is_cloudevent(keys: Keys) -> bool:
    return "specversion" in keys and not keys.keys().isdisjoint({"id", "type", "source", "data", "data_base64"})


def _is_litellm(keys: Keys) -> bool:
    marks = {"model_parameters", "call_type", "litellm_call_id", "custom_llm_provider", "model_map_information"}
    return "response" in keys and not keys.keys().isdisjoint(marks)


def _is_batch_line(keys: Keys) -> bool:
    return "custom_id" in keys and (_is(keys, "response", "{n") or "error" in keys)


def _is_connect(keys: Keys) -> bool:
    return keys.keys() == {"schema", "payload"} and _is(keys, "schema", "{n")


def _is_debezium(keys: Keys) -> bool:
    return {"op", "after"} <= keys.keys() and not keys.keys().isdisjoint({"source", "before", "ts_ms"})


def _is_openai(keys: Keys) -> bool:
    return "choices" in keys and (not _is(keys, "choices", "[") or _array_of_objects(keys, "choices"))


def _is_sglang(keys: Keys) -> bool:
    marks = (b'"output_token_logprobs"', b'"completion_tokens"', *([b'"finish_reason"'] if "text" in keys else []))
    return _mentions(keys, "meta_info", *marks)


def _is_tgi(keys: Keys) -> bool:
    marks = (b'"tokens"', b'"generated_tokens"', b'"prefill"')
    return _is(keys, "generated_text", '"') or _mentions(keys, "details", *marks) or _is_tgi_token(keys)


def _is_tgi_token(keys: Keys) -> bool:
    token = _inner(keys, "token")
    return ("text" in token or "id" in token) and (_has_logprob(token) or "top_tokens" in keys)


def _has_logprob(token: Keys) -> bool:
    return not token.keys().isdisjoint({"logprob", "log_prob", "logProb"})


def _is_llama_cpp(keys: Keys) -> bool:
    marks = {"tokens_predicted", "stop_type", "stop", "generation_settings", "tokens_evaluated", "timings"}
    if _is(keys, "completion_probabilities", "[") and "content" in keys:
        return True
    return _is(keys, "content", '"') and not keys.keys().isdisjoint(marks) and "role" not in keys


def _is_gemini(keys: Keys) -> bool:
    marks = {"usageMetadata", "usage_metadata", "modelVersion", "responseId", "promptFeedback"}
    if not keys.keys().isdisjoint(marks):
        return True
    return any(
        "logprobsResult" in candidate
        or "logprobs_result" in candidate
        or "avgLogprobs" in candidate
        or "parts" in _inner(candidate, "content")
        for candidate in _objects(keys, "candidates")
    )


def _is_responses(keys: Keys) -> bool:
    of_event = {"sequence_number", "response", "item_id", "output_index", "item", "delta", "part"}
    if _text(keys, "type").startswith("response."):
        return not keys.keys().isdisjoint(of_event)
    if _text(keys, "object") == "response":
        return _is(keys, "output", "[")
    marks = {"status", "created_at", "model", "usage"}
    return not keys.keys().isdisjoint(marks) and any("type" in item for item in _objects(keys, "output"))


def _is_transcription(keys: Keys) -> bool:
    if _text(keys, "type").startswith("transcript.text."):
        return "delta" in keys or "text" in keys
    return _is(keys, "text", '"') and (
        any(map(_has_logprob, _objects(keys, "logprobs")))
        or _text(_inner(keys, "usage"), "type") in ("tokens", "duration")
    )


def _is_ollama(keys: Keys) -> bool:
    content = {"response", "thinking", "logprobs", "done_reason", "eval_count"}
    return (
        _is(keys, "done", "tf")
        and (_is(keys, "message", "{") or not keys.keys().isdisjoint(content))
        and not keys.keys().isdisjoint({"model", "created_at", "eval_count", "logprobs"})
    )


def _is_triton(keys: Keys) -> bool:
    if "output_log_probs" in keys or (_is(keys, "text_output", '"[') and "model_name" in keys):
        return True
    names = {_text(tensor, "name") for tensor in _objects(keys, "outputs")}
    return not names.isdisjoint({"output_log_probs", "text_output"})


def _is_jurassic(keys: Keys) -> bool:
    return any("data" in completion for completion in _objects(keys, "completions"))


def _is_imported(keys: Keys) -> bool:
    marks = {"generation_token_count", "prompt_token_count", "stop_reason", "logprobs"}
    return _is(keys, "generation", '"n') and not keys.keys().isdisjoint(marks)


def _is_cohere(keys: Keys) -> bool:
    if _text(keys, "type") in cohere.EVENTS:
        return not keys.keys().isdisjoint({"id", "index", "delta"})
    return (
        _is(keys, "finish_reason", '"')
        and "content" in (message := _inner(keys, "message"))
        and (_text(message, "role") == "assistant" or "logprobs" in keys)
    )


def _unchanged(event: own.OwnEvent) -> own.OwnEvent:
    return event


FORMATS: tuple[Format, ...] = (
    Format("cloudevents", _is_cloudevent, cloudevents.Envelope, cloudevents.read, wraps=True, contents="data"),
    Format("openai", _is_openai, openai.Body, openai.read, b'"choices":', openai.NumberBody, openai_stream.Event,
           openai_stream.UsualStream, usual_spelling=respelt),
    Format("driftgauge", _is_own, own.OwnEvent, _unchanged, b'{"type":"', own.OwnEvent),
    Format("litellm", _is_litellm, gateways.LiteLLM, gateways.read_litellm, wraps=True, contents="response"),
    Format("openai_batch", _is_batch_line, gateways.BatchLine, gateways.read_batch_line, wraps=True,
           contents="response.body"),
    Format("kafka_connect", _is_connect, gateways.Connect, gateways.read_connect, wraps=True, contents="payload"),
    Format("debezium", _is_debezium, gateways.Debezium, gateways.read_debezium, wraps=True, contents="after"),
    Format("sglang", _is_sglang, sglang.Body, sglang.read),
    Format("tgi", _is_tgi, tgi.Body, tgi.read, usual_spelling=respelt),
    Format("llama_cpp", _is_llama_cpp, llama_cpp.Body, llama_cpp.read, usual_spelling=respelt),
    Format("gemini", _is_gemini, gemini.Body, gemini.read, usual_spelling=in_camel_case),
    Format("openai_responses", _is_responses, responses.Body, responses.read),
    Format("ollama", _is_ollama, ollama.Body, ollama.read, usual_spelling=respelt),
    Format("triton", _is_triton, triton.Body, triton.read),
    Format("ai21", _is_jurassic, bedrock.Jurassic, bedrock.read_jurassic),
    Format("bedrock_imported", _is_imported, bedrock.Imported, bedrock.read_imported),
    Format("openai_transcription", _is_transcription, transcription.Body, transcription.read),
    Format("cohere", _is_cohere, cohere.Body, cohere.read),
)  # fmt: skip

ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        ("vllm", "deepseek", "together", "fireworks", "tensorrt_llm", "lmdeploy", "openai_chat", "openai_completions"),
        "openai",
    ),
    "vertex": "gemini",
    "bedrock_ai21": "ai21",
}

NAMES = tuple(dict.fromkeys(format_.name for format_ in FORMATS))


def format_named(name: str) -> Format:
    """The format of this name, or of the server of this name; raises `PayloadError` where there is none."""
    wanted = ALIASES.get(name, name)
    for format_ in FORMATS:
        if format_.name == wanted:
            return format_
    raise PayloadError("unknown_format", f"no format has this name; known formats are {', '.join(NAMES)}")


def detect(keys: Keys) -> Format | None:
    """The first format of the table that matches these keys; None where there is none."""
    return next((format_ for format_ in FORMATS if format_.matches(keys)), None)
