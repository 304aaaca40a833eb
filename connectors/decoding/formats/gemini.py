"""Gemini and Vertex AI: ``candidates[].logprobsResult``, whole or as chunks of a stream.

``avgLogprobs`` is not read: on reasoning models it is not the mean of the list. Reasoning tokens have no
log-probabilities.

Sources: recordings of Vertex AI (2026-02) and the Gemini API. Streams with log-probabilities: documentation only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from operator import attrgetter
from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    Tokens,
    columns_of,
    count_of,
    domain_of,
    field_of,
    id_of,
    number_of,
    text_of,
    word_of,
)


class Candidate(Struct, rename="camel", gc=False):
    """A token."""

    log_probability: Any = None
    token: Any = None
    token_id: Any = None


class TopCandidates(Struct):
    """Alternatives of one token."""

    candidates: list[Candidate] | None = None


class LogprobsResult(Struct, rename="camel"):
    """All tokens of a choice."""

    chosen_candidates: list[Candidate] | None = None
    top_candidates: list[TopCandidates | None] | None = None


class Choice(Struct, rename="camel"):
    """One choice."""

    index: Any = None
    content: Any = None
    finish_reason: Any = None
    logprobs_result: LogprobsResult | None = None


class Body(Struct, rename="camel"):
    """A body, or a chunk of a stream."""

    candidates: list[Choice] | None = None
    usage_metadata: Any = None
    model_version: Any = None
    response_id: Any = None
    create_time: Any = None
    metadata: Any = None
    driftgauge: Any = None


_LOGPROB = attrgetter("log_probability")


def read(body: Body) -> Payload:
    """One payload; it is a part while a choice has no finish reason, or where only some of its tokens are listed."""
    usage = body.usage_metadata
    thoughts = count_of(field_of(usage, "thoughtsTokenCount"))
    n_generated = field_of(usage, "candidatesTokenCount")
    generated = count_of(n_generated)
    pieces = [_piece(choice) for choice in body.candidates or []]
    n_listed = sum(len(piece.tokens or ()) for piece in pieces)
    return Payload(
        pieces=pieces,
        id=id_of(body.response_id),
        model=text_of(body.model_version),
        created=body.create_time,
        n_prompt=field_of(usage, "promptTokenCount"),
        n_completion=n_generated if generated is None else generated + (thoughts or 0),
        n_reasoning=thoughts,
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=not all(piece.is_last for piece in pieces) or 0 < n_listed < (generated or 0),
    )


def _piece(choice: Choice) -> Piece:
    index = number_of(choice.index)
    finish_reason = word_of(choice.finish_reason)
    parts = field_of(choice.content, "parts")
    return Piece(
        index=int(index) if index and index > 0 else 0,
        tokens=None if choice.logprobs_result is None else _tokens(choice.logprobs_result),
        finish_reason=finish_reason,
        text="".join(text_of(field_of(part, "text")) for part in parts) if isinstance(parts, list) else "",
        is_last=finish_reason is not None,
    )


def _tokens(result: LogprobsResult) -> Tokens:
    rows = [row.candidates if row else None for row in result.top_candidates or []]
    return columns_of(result.chosen_candidates or [], rows, _LOGPROB, _names)


def _names(tokens: Iterable[Candidate]) -> list[Hashable]:
    return [token.token or "" if token.token_id is None else token.token_id for token in tokens]
