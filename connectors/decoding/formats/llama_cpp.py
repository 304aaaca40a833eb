"""llama.cpp's own ``/completion``, in its present and its old shape, whole or as a stream.

An entry has ``logprob`` and ``top_logprobs`` (or, after the samplers, ``prob`` and ``top_probs``). Before
2024-12, and still in ik_llama.cpp, it has ``content`` and ``probs``: the probability of the sampled token is the one of
the alternative with its text. Tokens of a trimmed stop word and tokens that end inside a character have no entry.

Sources: the source code (2026-08) and recordings of both shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.openai import Entry as OpenAIEntry
from driftgauge.connectors.decoding.formats.openai import name, value_of
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    RequestParameters,
    Tokens,
    count_of,
    domain_of,
    field_of,
    number_of,
    text_of,
    tokens_of,
    word_of,
)


class Probability(Struct, gc=False):
    """An alternative of the old shape."""

    prob: Any = None
    logprob: Any = None
    log_prob: Any = None
    tok_str: Any = None


class Entry(OpenAIEntry):
    """A generated token; ``content`` and ``probs`` are the old shape."""

    content: Any = None
    probs: list[Probability] | None = None


class Body(Struct):
    """An answer, or an event of a stream."""

    completion_probabilities: list[Entry] | None = None
    content: Any = None
    index: Any = None
    stop: Any = None
    stop_type: Any = None
    stopped_eos: Any = None
    stopped_word: Any = None
    stopped_limit: Any = None
    model: Any = None
    generation_settings: Any = None
    tokens_predicted: Any = None
    tokens_evaluated: Any = None
    timings: Any = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload. The last event of a stream has no entries; a whole answer has all of them."""
    listed = body.completion_probabilities
    settings = body.generation_settings
    predicted = body.tokens_predicted if body.tokens_predicted is not None else field_of(body.timings, "predicted_n")
    is_last = body.stop is True
    piece = Piece(
        index=count_of(body.index) or 0,
        tokens=None if listed is None else _tokens(listed),
        finish_reason=_reason(body) if is_last else None,
        text=text_of(body.content),
        is_last=is_last,
    )
    return Payload(
        pieces=[piece],
        model=text_of(body.model) or text_of(field_of(settings, "model")),
        n_prompt=body.tokens_evaluated,
        n_completion=predicted if is_last else None,
        parameters=RequestParameters(
            temperature=number_of(field_of(settings, "temperature")),
            top_p=number_of(field_of(settings, "top_p")),
            logprobs_mode="after_samplers" if _is_after_samplers(listed or []) else None,
        ),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=not is_last or (not listed and _ends_stream(body)),
    )


def _ends_stream(body: Body) -> bool:
    return body.content == "" or field_of(body.generation_settings, "stream") is True


def _reason(body: Body) -> str | None:
    if word := word_of(body.stop_type):
        return word
    old = {"eos": body.stopped_eos, "word": body.stopped_word, "limit": body.stopped_limit}
    return next((name for name, is_so in old.items() if is_so is True), None)


def _is_after_samplers(listed: list[Entry]) -> bool:
    return any(entry.probs is not None or entry.prob is not None for entry in listed)


def _tokens(listed: Iterable[Entry]) -> Tokens:
    return tokens_of(_old(entry) if entry.probs is not None else _new(entry) for entry in listed)


def _new(entry: Entry) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    rows = entry.top_logprobs or entry.top_probs or []
    return value_of(entry), name(entry), [(value_of(other), name(other)) for other in rows]


def _old(entry: Entry) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    rows = [(value_of(other), text_of(other.tok_str)) for other in entry.probs or []]
    text = text_of(entry.content)
    return next((value for value, other in rows if other == text), None), text, rows
