"""Cohere's v2 chat, whole or as events of a stream: an item may hold several tokens; there are no alternatives.

Source: client types only; no recording with log-probabilities was found.
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

EVENTS = frozenset({
    "message-start", "content-start", "content-delta", "content-end", "message-end", "tool-plan-delta",
    "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end",
})  # fmt: skip
"""Types of the events of a stream."""


class Item(Struct):
    """Some text with its tokens."""

    text: Any = None
    token_ids: list[int] | None = None
    logprobs: list[float | str | None] | None = None


class Body(Struct):
    """An answer, or an event of a stream."""

    type: Any = None
    id: Any = None
    index: Any = None
    delta: Any = None
    finish_reason: Any = None
    message: Any = None
    usage: Any = None
    logprobs: list[Item] | Item | None = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload; events of a stream have a type."""
    is_event = isinstance(body.type, str)
    end = body.delta if is_event else {"finish_reason": body.finish_reason, "usage": body.usage}
    usage = field_of(end, "usage", "tokens")
    finish_reason = word_of(field_of(end, "finish_reason"))
    return Payload(
        pieces=[Piece(tokens=_tokens(body.logprobs), finish_reason=finish_reason, is_last=finish_reason is not None,
                      text=_text(body))],
        id=id_of(body.id),
        n_prompt=field_of(usage, "input_tokens"),
        n_completion=field_of(usage, "output_tokens"),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=is_event,
        is_keyed=is_event,
    )  # fmt: skip


def _tokens(logprobs: list[Item] | Item | None) -> Tokens | None:
    if logprobs is None:
        return None
    items = logprobs if isinstance(logprobs, list) else [logprobs]
    return tokens_of((value, "", ()) for item in items for value in item.logprobs or [])


def _text(body: Body) -> str:
    message = field_of(body.delta, "message") or body.message
    content = field_of(message, "content")
    parts = content if isinstance(content, list) else [content]
    return "".join(text_of(field_of(part, "text")) for part in parts)
