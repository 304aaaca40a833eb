"""Bedrock's own shapes: AI21's Jurassic-2, and imported models with the shape of Llama's.

Jurassic-2: ``raw_logprob`` is read; ``logprob`` is after the sampler (0.0 throughout). Imported models list one object
per generated token: from the token's id to its log-probability, the sampled token first.

Sources: a recording of Jurassic-2 on Bedrock; for imported models documentation only.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    Tokens,
    domain_of,
    field_of,
    id_of,
    text_of,
    tokens_of,
    word_of,
)


class Candidate(Struct):
    """A token of Jurassic-2."""

    token: Any = None
    raw_logprob: Any = None
    logprob: Any = None


class Token(Struct, rename="camel"):
    """A generated token with its alternatives."""

    generated_token: Candidate | None = None
    top_tokens: list[Candidate] | None = None


class Data(Struct):
    """The generated text and tokens."""

    text: Any = None
    tokens: list[Token] | None = None


class Completion(Struct, rename="camel"):
    """One choice."""

    data: Data | None = None
    finish_reason: Any = None


class Jurassic(Struct):
    """An answer of Jurassic-2."""

    completions: list[Completion]
    id: Any = None
    metadata: Any = None
    driftgauge: Any = None


class Imported(Struct):
    """An answer of an imported model, or an event of its stream."""

    generation: Any
    logprobs: list[dict[str, Any] | None] | None = None
    stop_reason: Any = None
    prompt_token_count: Any = None
    generation_token_count: Any = None
    id: Any = None
    model: Any = None
    metadata: Any = None
    driftgauge: Any = None


def read_jurassic(body: Jurassic) -> Payload:
    """One payload with all choices."""
    pieces = [_piece(i, completion) for i, completion in enumerate(body.completions)]
    return Payload(pieces, id=id_of(body.id), domain=domain_of(body.driftgauge, body.metadata))


def _piece(index: int, completion: Completion) -> Piece:
    data = completion.data or Data()
    tokens = None
    if data.tokens is not None:
        tokens = tokens_of((*_pair(t.generated_token), [_pair(o) for o in t.top_tokens or ()]) for t in data.tokens)
    return Piece(index, tokens, word_of(completion.finish_reason), text_of(data.text), is_last=True)


def _pair(token: Candidate | None) -> tuple[Any, str]:
    """The raw value; where it is absent, the processed one is no substitute."""
    return (None, "") if token is None else (token.raw_logprob, text_of(token.token))


def read_imported(body: Imported) -> Payload:
    """One payload; it is a part while it has no stop reason."""
    finish_reason = word_of(body.stop_reason)
    piece = Piece(
        tokens=None if body.logprobs is None else _imported_tokens(body.logprobs),
        finish_reason=finish_reason,
        text=text_of(body.generation),
        is_last=finish_reason is not None,
    )
    return Payload(
        pieces=[piece],
        id=id_of(body.id),
        model=text_of(body.model),
        n_prompt=body.prompt_token_count,
        n_completion=body.generation_token_count,
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=finish_reason is None,
    )


def _imported_tokens(rows: list[dict[str, Any] | None]) -> Tokens:
    """The first token of each row is the sampled one; a single one has no alternatives."""
    tokens = Tokens()
    for row in rows:
        named = [(_value(value), name) for name, value in (row or {}).items()] or [(None, "")]
        tokens.extend(tokens_of([(*named[0], named if len(named) > 1 else [])]))
    return tokens


def _value(value: Any) -> Any:
    return field_of(value, "logprob") if isinstance(value, dict) else value
