"""Ollama's own ``/api/chat`` and ``/api/generate``: NDJSON streams of deltas, or one body.

``/api/generate`` sends no log-probability for tokens without content. Some back ends put a linear
probability into the field (positive values: missing).

Sources: the source code (2026-08); for streams an excerpt of a recording of 0.32.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.openai import Entry, entries
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    count_of,
    domain_of,
    field_of,
    text_of,
    word_of,
)
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN


class Body(Struct):
    """A body, or a line of a stream."""

    done: Any = None
    done_reason: Any = None
    model: Any = None
    created_at: Any = None
    message: Any = None
    response: Any = None
    thinking: Any = None
    logprobs: list[Entry] | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload. A whole body has its text and its end in one."""
    text = text_of(field_of(body.message, "content") or body.response)
    thought = text_of(field_of(body.message, "thinking") or body.thinking)
    is_last = body.done is True
    n_completion = body.eval_count if is_last else None
    is_whole = is_last and bool(text or body.logprobs) and not _is_last_step(body)
    segment = SEGMENT_UNKNOWN
    if not is_whole and bool(text) != bool(thought):
        segment = SEGMENT_REASONING if thought else SEGMENT_ANSWER
    piece = Piece(
        tokens=None if body.logprobs is None else entries(body.logprobs, segment),
        finish_reason=word_of(body.done_reason),
        text=text,
        is_last=is_last,
        has_reasoning=bool(thought),
    )
    return Payload(
        pieces=[piece],
        model=text_of(body.model),
        created=body.created_at,
        n_prompt=body.prompt_eval_count,
        n_completion=n_completion,
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=not is_whole,
    )


def _is_last_step(body: Body) -> bool:
    """Whether a last line lists only a few of the tokens: then it ends a stream and is no whole body."""
    n_listed, n_all = len(body.logprobs or ()), count_of(body.eval_count) or 0
    return 0 < n_listed < n_all // 2
