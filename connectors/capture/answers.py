"""Captured answers to whole responses: what the agent would make of the same bytes, to be encoded as packed events.

The answer is a body, or a stream with all its events. Signals stay as the server sent them: the agent normalises them
when it reads the event.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.payload import RequestParameters
from driftgauge.models.arrays import Floats, UInt8s
from driftgauge.models.events import SEGMENT_UNKNOWN, Chunk, Context, Event, Generation, Signal

Value = TypeVar("Value")

_MAY_REPEAT = re.compile(r"(?:(?:chat)?cmpl-|resp_)?\d{1,6}(#\d+)?")
"""Ids that a server soon gives again: Ollama draws a number below 999, LMDeploy counts from 1 after each start."""


def responses_in(decoder: Decoder, answer: bytes, received: float) -> tuple[list[Generation], Counter[str]]:
    r"""The choices of an answer, and why the others gave none, as reasons with their counts.

    Each response has a unique id, also where the answer has no id.

    Parameters
    ----------
    decoder : its settings say what an answer without a domain gets, and whether texts are kept
    received : UTC seconds; the event time of an answer that has none

    Examples
    --------
    >>> choice = '{"delta": {}, "logprobs": {"content": [{"logprob": -0.5}]}, "finish_reason": "stop"}'
    >>> stream = f'data: {{"id": "r", "choices": [{choice}]}}' + "\n\ndata: [DONE]"
    >>> (response,), dropped = responses_in(Decoder(), stream.encode(), received=1.76e9)
    >>> response.id, response.signal.chosen_logprobs.tolist(), dropped
    ('r', [-0.5], Counter())
    """
    own = f"tap-{secrets.token_hex(12)}"
    events, errors = decoder.read(Record(own, 0, 0, None, answer, (), received))
    dropped: Counter[str] = Counter(error.reason for error in errors)
    found = [event for event in events if isinstance(event, Generation)] or _assembled(events, dropped)
    with_tokens = [generation for generation in found if generation.signal.n_tokens]
    dropped["no_logprobs"] += len(found) - len(with_tokens)
    return [uniquely_named(one, f"{own}/{number}") for number, one in enumerate(with_tokens)], +dropped


def uniquely_named(generation: Generation, own: str) -> Generation:
    """The same response under an id that no other has; one that its server may give again becomes a further id.

    Parameters
    ----------
    own : an id that was made for the answer

    Examples
    --------
    >>> for name in ("chatcmpl-8f3a09c2", "chatcmpl-520", "chatcmpl-520#1"):
    ...     named = uniquely_named(Generation(name, 0.0, "", Context(), Signal()), "own")
    ...     print(named.id, named.aliases)
    chatcmpl-8f3a09c2 ()
    own ('chatcmpl-520',)
    own#1 ('chatcmpl-520#1',)
    """
    found = _MAY_REPEAT.fullmatch(generation.id)
    if found is None:
        return generation
    return replace(generation, id=own + (found[1] or ""), aliases=(generation.id, *generation.aliases))


def _assembled(events: Iterable[Event], dropped: Counter[str]) -> list[Generation]:
    """The responses whose pieces are there up to the end."""
    pieces: dict[str, list[Chunk]] = {}
    counts: Generation | None = None
    for event in events:
        if isinstance(event, Chunk) and event.is_trailer:
            counts = event.piece if event.piece.n_completion_tokens is not None else counts
        elif isinstance(event, Chunk):
            pieces.setdefault(event.piece.id, []).append(event)
    complete = [chunks for chunks in pieces.values() if any(chunk.is_last for chunk in chunks)]
    dropped["incomplete"] += len(pieces) - len(complete) if pieces or dropped else 1
    return [_whole(chunks, counts if len(pieces) == 1 else None) for chunks in complete]


def _whole(chunks: Sequence[Chunk], counts: Generation | None) -> Generation:
    """One response of its pieces; ``counts`` has the token counts of the request, where it has one response."""
    pieces, signals, n_tokens = [chunk.piece for chunk in chunks], [], 0
    for chunk in chunks:
        known = 0 if chunk.position is None else max(n_tokens - chunk.position, 0)
        signals.append(chunk.piece.signal.after(known))
        n_tokens += signals[-1].n_tokens
    sources = [*pieces, *([] if counts is None else [counts])]
    whole = replace(
        pieces[0],
        event_time=max(piece.event_time for piece in pieces),
        signal=_joined(signals),
        finish_reason=_latest(piece.finish_reason for piece in pieces),
        n_prompt_tokens=_latest(piece.n_prompt_tokens for piece in sources),
        n_completion_tokens=_latest(piece.n_completion_tokens for piece in sources),
        n_reasoning_tokens=_latest(piece.n_reasoning_tokens for piece in sources),
        text=None if pieces[0].text is None else "".join(piece.text or "" for piece in pieces),
    )
    for piece in pieces[1:]:
        whole = in_context(whole, piece.context)
    return whole


def _joined(signals: Sequence[Signal]) -> Signal:
    """The tokens of all these signals; NaN fills the end of shorter rows."""
    found = [signal for signal in signals if signal.n_tokens]
    if len(found) < 2:
        return found[0] if found else Signal()
    k = max(0 if signal.top_logprobs is None else signal.top_logprobs.shape[1] for signal in found)
    segments = np.concatenate([_segments(signal) for signal in found])
    return Signal(
        np.concatenate([_column(signal) for signal in found]),
        np.concatenate([_rows(signal, k) for signal in found]),
        segments=segments if segments.any() else None,
    )


def _column(signal: Signal) -> Floats:
    missing = np.full(signal.n_tokens, np.nan, dtype=np.float32)
    return missing if signal.chosen_logprobs is None else signal.chosen_logprobs


def _rows(signal: Signal, k: int) -> Floats:
    rows = np.full((signal.n_tokens, k), np.nan, dtype=np.float32)
    if signal.top_logprobs is not None:
        rows[:, : signal.top_logprobs.shape[1]] = signal.top_logprobs
    return rows


def _segments(signal: Signal) -> UInt8s:
    return np.full(signal.n_tokens, SEGMENT_UNKNOWN, np.uint8) if signal.segments is None else signal.segments


def _latest(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in reversed([*values]) if value is not None), None)


def in_context(generation: Generation, known: Context) -> Generation:
    """The same response; what its context lacks is that of the other one."""
    own = generation.context
    names = [name for name in Context.__struct_fields__ if getattr(own, name) in (None, "")]
    return replace(generation, context=replace(own, **{name: getattr(known, name) for name in names}))


def requested_context(parameters: RequestParameters) -> Context:
    """The context that the parameters of a request say."""
    return Context("", parameters.revision, parameters.temperature, parameters.top_p, k=parameters.k)


def encoded(payload: Mapping[str, Any], fields: Iterable[str]) -> bytes:
    """JSON of these fields of a payload, as far as it has them; values that JSON does not know become text.

    >>> encoded({"id": "r", "messages": ["secret"]}, ("id", "model"))
    b'{"id":"r"}'
    """
    return msgspec.json.encode({name: payload[name] for name in fields if name in payload}, enc_hook=str)
