"""OpenAI's audio transcriptions with log-probabilities, whole or as a stream of events.

A stream sends the tokens in ``transcript.text.delta`` and all of them again in ``transcript.text.done``. No event has
an id: the key of the record or its place names the response.

Source: OpenAI's OpenAPI description and client types.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.openai import Entry, entries
from driftgauge.connectors.decoding.formats.payload import Payload, Piece, domain_of, field_of, id_of, text_of


class Body(Struct):
    """A transcription, or an event of a stream."""

    type: Any = None
    text: Any = None
    delta: Any = None
    logprobs: list[Entry] | None = None
    usage: Any = None
    id: Any = None
    model: Any = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload; an event of a stream is a part, and the last one repeats everything."""
    kind = text_of(body.type)
    is_event, is_delta = bool(kind), kind == "transcript.text.delta"
    is_last = not is_event or kind == "transcript.text.done"
    piece = Piece(
        tokens=None if body.logprobs is None else entries(body.logprobs),
        text=text_of(body.delta if is_delta else body.text) if is_delta or is_last else "",
        is_last=is_last,
        is_repetition=is_event and is_last,
    )
    return Payload(
        pieces=[piece],
        id=id_of(body.id),
        model=text_of(body.model),
        n_prompt=field_of(body.usage, "input_tokens"),
        n_completion=field_of(body.usage, "output_tokens"),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=is_event,
        is_keyed=is_event,
    )
