"""AI21's Jurassic-2 as Bedrock serves it: ``raw_logprob`` is read; ``logprob`` is after the sampler (0.0 throughout).

Source: a recording of Bedrock.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.payload import Payload, Piece, domain_of, id_of, text_of, tokens_of, word_of


class Candidate(Struct):
    """A token."""

    token: str | None = None
    raw_logprob: float | str | None = None
    logprob: float | str | None = None


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


class Body(Struct):
    """An answer."""

    completions: list[Completion]
    id: Any = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload with all choices."""
    pieces = [_piece(i, completion) for i, completion in enumerate(body.completions)]
    return Payload(pieces, id=id_of(body.id), domain=domain_of(body.driftgauge, body.metadata))


def _piece(index: int, completion: Completion) -> Piece:
    data = completion.data or Data()
    tokens = None
    if data.tokens is not None:
        tokens = tokens_of((*_pair(t.generated_token), [_pair(o) for o in t.top_tokens or ()]) for t in data.tokens)
    return Piece(index, tokens, word_of(completion.finish_reason), text_of(data.text), is_last=True)


def _pair(token: Candidate | None) -> tuple[float | str | None, str]:
    """The raw value; where it is absent, the processed one is no substitute."""
    return (None, "") if token is None else (token.raw_logprob, token.token or "")
