"""OpenAI's Responses API, whole or as a stream of its events.

A stream sends the same tokens up to four times: in ``output_text.delta``, ``output_text.done``, ``output_item.done``
and ``response.completed`` (rounded to 6 decimals there). The deltas are used; the repetitions only where there were
no deltas.

Sources: recordings of OpenAI (2026), Azure and LM Studio; code of vLLM 0.33.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.openai import Entry, entries, requested
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    RequestParameters,
    Tokens,
    count_of,
    domain_of,
    field_of,
    id_of,
    text_of,
)


class Part(Struct):
    """Part of the content of an output item."""

    type: Any = None
    text: Any = None
    logprobs: list[Entry] | None = None


class Item(Struct):
    """One output item: a message, reasoning, a function call."""

    type: Any = None
    content: list[Part] | None = None


class Response(Struct):
    """The response object."""

    id: Any = None
    created_at: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: Any = None
    output: list[Item] | None = None
    usage: Any = None
    metadata: Any = None
    driftgauge: Any = None
    temperature: Any = None
    top_p: Any = None
    top_logprobs: Any = None


class Body(Response):
    """A response object, or an event of a stream."""

    type: Any = None
    sequence_number: Any = None
    response: Response | None = None
    delta: Any = None
    logprobs: list[Entry] | None = None
    part: Part | None = None
    item: Item | None = None


ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Types of the events that end a stream."""


def read(body: Body) -> Payload:
    """One payload; an event of a stream is a part, and the last one a part that repeats everything."""
    if not isinstance(body.type, str) or not body.type.startswith("response."):
        return _whole(body)
    if body.response is not None:
        return _state(body, body.response)
    return Payload([_delta(body)], is_part=True, is_keyed=True, sequence=count_of(body.sequence_number))


def _whole(response: Response) -> Payload:
    usage = response.usage
    reason = field_of(response.incomplete_details, "reason") or response.status
    piece = Piece(tokens=_tokens(response.output or []), finish_reason=text_of(reason) or None, is_last=True)
    piece.text = "".join(text_of(part.text) for item in response.output or [] for part in _parts(item))
    return Payload(
        pieces=[piece],
        id=id_of(response.id),
        model=text_of(response.model),
        created=response.created_at,
        n_prompt=field_of(usage, "input_tokens"),
        n_completion=field_of(usage, "output_tokens"),
        n_reasoning=field_of(usage, "output_tokens_details", "reasoning_tokens"),
        parameters=_parameters(response),
        domain=domain_of(response.driftgauge, response.metadata),
    )


def _parameters(response: Response) -> RequestParameters:
    return requested(
        {"temperature": response.temperature, "top_p": response.top_p, "top_logprobs": response.top_logprobs}
    )


def _parts(item: Item) -> list[Part]:
    """The parts of the answer; a reasoning item has no log-probabilities."""
    return [] if item.type == "reasoning" else item.content or []


def _tokens(output: list[Item]) -> Tokens | None:
    """All tokens; None where every list is empty, which means that log-probabilities were not requested."""
    found = Tokens()
    for item in output:
        for part in _parts(item):
            found.extend(entries(part.logprobs or []))
    return found if len(found) else None


def _state(body: Body, response: Response) -> Payload:
    """The payload of an event that carries the response object; at the end it repeats all tokens."""
    payload = _whole(response)
    is_end = body.type in ENDS
    payload.is_part, payload.is_keyed, payload.sequence = True, True, count_of(body.sequence_number)
    for piece in payload.pieces:
        piece.is_last = is_end
        piece.is_repetition = True
        if not is_end:
            piece.finish_reason = None
    return payload


def _delta(body: Body) -> Piece:
    if body.type == "response.output_text.delta":
        return Piece(tokens=entries(body.logprobs or []) or None, text=text_of(body.delta))
    if body.type == "response.output_item.done" and body.item is not None:  # vLLM: tokens that the deltas lack
        return Piece(tokens=_tokens([body.item]), is_repetition=True)
    return Piece()
