"""The table of wire formats: the keys that identify each, the struct its bytes become, and the function that reads it.

A new format is one entry here and one module beside. The entries are tested in order, so an entry may rely on those
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from driftgauge.connectors.decoding.formats import (
    ai21,
    cloudevents,
    cohere,
    gateways,
    gemini,
    llama_cpp,
    ollama,
    openai,
    own,
    responses,
    sglang,
    tgi,
    triton,
)
from driftgauge.connectors.decoding.formats.payload import PayloadError

Keys: TypeAlias = Mapping[str, Any]
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
    wraps : ``read`` takes a second argument, the reader of nested bodies, and gives a list
    """

    name: str
    matches: Callable[[Keys], bool]
    wire: Any
    read: Callable[..., Any]
    mark: bytes = b""
    quick: Any = None
    wraps: bool = False


def _has(*names: str) -> Callable[[Keys], bool]:
    """Whether any of these keys is present."""
    return lambda keys: any(name in keys for name in names)


def _is_own(keys: Keys) -> bool:
    return "type" in keys and not keys.keys().isdisjoint({"signal", "label_id", "response_id", "version"})


def _is_litellm(keys: Keys) -> bool:
    marks = {"model_parameters", "call_type", "litellm_call_id", "custom_llm_provider", "model_map_information"}
    return "response" in keys and not keys.keys().isdisjoint(marks)


def _is_tgi(keys: Keys) -> bool:
    return "generated_text" in keys or "details" in keys or ("token" in keys and "top_tokens" in keys)


def _is_responses(keys: Keys) -> bool:
    marks = {"sequence_number", "response", "item_id", "output_index", "item"}
    return "output" in keys or ("type" in keys and not keys.keys().isdisjoint(marks))


def _unchanged(event: own.OwnEvent) -> own.OwnEvent:
    return event


_LLAMA_CPP_MARKS = ("completion_probabilities", "tokens_predicted", "stop_type")

FORMATS: tuple[Format, ...] = (
    Format("cloudevents", _has("specversion"), cloudevents.Envelope, cloudevents.read, wraps=True),
    Format("openai", _has("choices"), openai.Body, openai.read, b'"choices":', openai.NumberBody),
    Format("driftgauge", _is_own, own.OwnEvent, _unchanged, b'{"type":"', own.OwnEvent),
    Format("litellm", _is_litellm, gateways.LiteLLM, gateways.read_litellm, wraps=True),
    Format("openai_batch", _has("custom_id"), gateways.BatchLine, gateways.read_batch_line, wraps=True),
    Format("sglang", _has("meta_info"), sglang.Body, sglang.read),
    Format("tgi", _is_tgi, tgi.Body, tgi.read),
    Format("llama_cpp", _has(*_LLAMA_CPP_MARKS), llama_cpp.Body, llama_cpp.read),
    Format("gemini", _has("candidates", "usageMetadata"), gemini.Body, gemini.read),
    Format("openai_responses", _is_responses, responses.Body, responses.read),
    Format("ollama", _has("done"), ollama.Body, ollama.read),
    Format("triton", _has("output_log_probs", "text_output", "outputs"), triton.Body, triton.read),
    Format("ai21", _has("completions"), ai21.Body, ai21.read),
    Format("cohere", _has("logprobs", "finish_reason", "delta", "message"), cohere.Body, cohere.read),
    # tokens inside a stream have few keys, so these come last
    Format("tgi", _has("token"), tgi.Body, tgi.read),
    Format("llama_cpp", _has("content"), llama_cpp.Body, llama_cpp.read),
    Format("cohere", lambda keys: keys.keys() == {"type", "index"}, cohere.Body, cohere.read),
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
