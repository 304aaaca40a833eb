"""Hugging Face TGI's own ``/generate``, whole or as a stream; also DeepInfra's, which has the same shape.

Log-probabilities are taken after penalties, grammar and every warper. Ties at the last rank are all listed.

Sources: code and recordings (TGI 2026-01); for the stream without ``index`` documentation only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from operator import attrgetter
from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    RequestParameters,
    Tokens,
    columns_of,
    count_of,
    domain_of,
    text_of,
    word_of,
)


class Token(Struct, gc=False):
    """One token."""

    id: Any = None
    text: Any = None
    logprob: Any = None
    log_prob: Any = None


class Sequence(Struct):
    """One of several sequences; also the fields of the best one."""

    finish_reason: Any = None
    generated_tokens: Any = None
    generated_text: Any = None
    prefill: Any = None
    tokens: list[Token] | None = None
    top_tokens: list[list[Token] | None] | None = None


class Details(Sequence):
    """Details of the answer."""

    best_of_sequences: list[Sequence] | None = None


class Body(Struct):
    """An answer, or an event of a stream."""

    generated_text: Any = None
    details: Details | None = None
    token: Token | None = None
    top_tokens: list[Token] | None = None
    index: Any = None
    metadata: Any = None
    driftgauge: Any = None


_LOGPROB, _LOG_PROB = attrgetter("logprob"), attrgetter("log_prob")
_PARAMETERS = RequestParameters(logprobs_mode="processed")


def read(body: Body) -> Payload:
    """One payload; an event of a stream is a part."""
    domain = domain_of(body.driftgauge, body.metadata)
    details = body.details
    if body.token is not None:
        piece = _event(body, details, body.token)
        n_completion = details.generated_tokens if details else None
        return Payload([piece], n_completion=n_completion, parameters=_PARAMETERS, domain=domain, is_part=True)
    if details is None:
        return Payload([Piece(text=text_of(body.generated_text), is_last=True)], domain=domain)
    sequences = [details, *(details.best_of_sequences or [])]
    pieces = [_sequence(i, sequence) for i, sequence in enumerate(sequences)]
    pieces[0].text = text_of(body.generated_text)
    n_prompt = len(details.prefill) if isinstance(details.prefill, list) and details.prefill else None
    return Payload(pieces, n_prompt=n_prompt, parameters=_PARAMETERS, domain=domain)


def _sequence(index: int, sequence: Sequence) -> Piece:
    return Piece(
        index=index,
        tokens=None if sequence.tokens is None else _columns(sequence.tokens, sequence.top_tokens or []),
        finish_reason=word_of(sequence.finish_reason),
        text=text_of(sequence.generated_text),
        is_last=True,
        n_completion=count_of(sequence.generated_tokens),
    )


def _event(body: Body, details: Details | None, token: Token) -> Piece:
    position = count_of(body.index)
    return Piece(
        tokens=_columns([token], [body.top_tokens]),
        finish_reason=word_of(details.finish_reason) if details else None,
        text=text_of(token.text),
        position=position - 1 if position else None,  # the first token has index 1
        is_last=details is not None or body.generated_text is not None,
    )


def _columns(tokens: list[Token], rows: list[list[Token] | None]) -> Tokens:
    """The columns; DJL's containers on SageMaker write ``log_prob``."""
    is_djl = any(token.logprob is None and token.log_prob is not None for token in tokens[:1])
    return columns_of(tokens, rows, _LOG_PROB if is_djl else _LOGPROB, _names)


def _names(tokens: Iterable[Token]) -> list[Hashable]:
    return [token.text or "" if token.id is None else token.id for token in tokens]
