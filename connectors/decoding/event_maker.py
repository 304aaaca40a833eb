"""Payloads to events: one response or chunk per choice, with its id, time, domain and context.

Signals are not normalised here. A field that the payload lacks comes from its envelope, and otherwise from the key or
the timestamp of its record. A response without any id is named by the place of its record. A chunk without any id is
rejected, because nothing names the response it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.payload import (
    MAX_ID_LENGTH,
    Payload,
    PayloadError,
    Piece,
    Tokens,
    checked_time,
)
from driftgauge.connectors.decoding.rules import raw_signal
from driftgauge.models.events import (
    SEGMENT_ANSWER,
    SEGMENT_REASONING,
    SEGMENT_UNKNOWN,
    Chunk,
    Context,
    Generation,
    Signal,
)

_END_OF_THINKING = "</think>"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one record; a record that exceeds one becomes a dead letter."""

    max_bytes: int = 16 * 2**20
    max_tokens: int = 1_000_000
    max_k: int = 1_024
    max_choices: int = 128

    def check(self, n_tokens: int, k: int) -> None:
        """Raise `PayloadError` for a response of more tokens or alternatives."""
        if n_tokens > self.max_tokens:
            raise PayloadError("too_many_tokens", f"{n_tokens} tokens; the bound is {self.max_tokens}")
        if k > self.max_k:
            raise PayloadError("too_many_alternatives", f"k is {k}; the bound is {self.max_k}")


@dataclass(slots=True)
class Place:
    """The place of a document: its record and its number there, and the stream it belongs to."""

    record: Record
    n_documents: int = 1
    is_stream: bool = False
    document: int = 0
    stream_id: str = ""
    n_streams: int = 0

    @property
    def key(self) -> str:
        """The key of the record as text; "" where there is none."""
        key = (self.record.key or b"").decode("utf-8", "replace")
        if len(key) > MAX_ID_LENGTH:
            raise PayloadError("invalid_id", f"a key of {len(key)} characters; the bound is {MAX_ID_LENGTH}")
        return key

    @property
    def key_of_document(self) -> str:
        """The key as the id of a response: the key itself for the first document of a record, numbered for others."""
        return f"{self.key}/{self.document}" if self.key and self.document else self.key

    def name(self, number: int) -> str:
        """An id made of the place of the record and a number within it."""
        record = self.record
        return f"{record.topic}/{record.partition}/{record.offset}" + (f"/{number}" if number else "")


class EventMaker:
    """Makes events from payloads."""

    def __init__(self, *, default_domain: str, keep_text: bool, limits: Limits) -> None:
        self.default_domain = default_domain
        self.keep_text = keep_text
        self.limits = limits

    def events(self, payload: Payload, place: Place) -> list[Generation | Chunk]:
        """One event per choice; none for an empty piece of a stream."""
        self._check(payload)
        if place.is_stream and not payload.is_part and all(piece.is_cumulative for piece in payload.pieces):
            _as_part(payload, place)
        if payload.is_part:
            return list(self._chunks(payload, place))
        name = payload.id or payload.key or place.key_of_document or payload.other_id or place.name(place.document)
        n_listed = sum(len(piece.tokens or ()) for piece in payload.pieces)
        return [
            self._generation(
                payload, piece, place,
                name=f"{name}#{piece.index}" if len(payload.pieces) > 1 else name,
                signal=_whole_signal(payload, piece),
                n_completion=_n_completion(payload, piece, n_listed),
            )
            for piece in payload.pieces
        ]  # fmt: skip

    def end(self, place: Place) -> list[Chunk]:
        """The trailer that marks the end of a stream."""
        name = place.stream_id or place.key
        if not name:
            return []
        empty = Generation(name, place.record.timestamp, self.default_domain, Context(), Signal())
        return [Chunk(empty, None, is_last=True, is_trailer=True)]

    def _chunks(self, payload: Payload, place: Place) -> list[Chunk]:
        name = _stream_id(payload, place)
        if not payload.pieces:
            return self._trailer(payload, place, name)
        chunks = []
        for piece in payload.pieces:
            if not _has_content(payload, piece):
                continue
            if not name:
                raise PayloadError("no_id", "a piece of a stream has no id: put the response id into the record key")
            chunks.append(self._chunk(payload, piece, place, f"{name}#{piece.index}" if piece.index else name))
        if any(piece.is_last for piece in payload.pieces) and not payload.id:
            place.stream_id, place.n_streams = "", place.n_streams + 1
        return chunks

    def _trailer(self, payload: Payload, place: Place, name: str) -> list[Chunk]:
        if payload.n_completion is None or not name:
            return []
        piece = self._generation(payload, Piece(), place, name=name, signal=Signal(), n_completion=payload.n_completion)
        return [Chunk(piece, None, is_last=True, is_trailer=True)]

    def _chunk(self, payload: Payload, piece: Piece, place: Place, name: str) -> Chunk:
        generation = self._generation(
            payload, piece, place, name=name, signal=_signal_of_piece(piece),
            n_completion=payload.n_completion if piece.n_completion is None else piece.n_completion,
        )  # fmt: skip
        repeats = piece.is_cumulative or piece.is_repetition
        return Chunk(
            generation,
            payload.sequence,
            is_last=piece.is_last,
            position=0 if repeats else piece.position,
            trailer_follows=piece.is_last and payload.usage_follows,
        )

    def _generation(
        self, payload: Payload, piece: Piece, place: Place, *, name: str, signal: Signal, n_completion: int | None
    ) -> Generation:
        parameters = payload.parameters
        created = payload.created
        return Generation(
            id=name,
            event_time=checked_time(place.record.timestamp if created is None else created),
            domain=payload.domain or self.default_domain,
            context=Context(
                payload.model, parameters.revision, parameters.temperature, parameters.top_p,
                parameters.logprobs_mode, parameters.k,
            ),
            signal=signal,
            finish_reason=piece.finish_reason,
            n_prompt_tokens=payload.n_prompt,
            n_completion_tokens=n_completion,
            n_reasoning_tokens=payload.n_reasoning,
            text=piece.text if self.keep_text else None,
        )  # fmt: skip

    def _check(self, payload: Payload) -> None:
        limits = self.limits
        if len(payload.pieces) > limits.max_choices:
            raise PayloadError("too_many_choices", f"{len(payload.pieces)} choices; the bound is {limits.max_choices}")
        for piece in payload.pieces:
            if piece.tokens:
                limits.check(len(piece.tokens), max(piece.tokens.counts))


def _as_part(payload: Payload, place: Place) -> None:
    """Make the payload a piece: in a stream whose every event looks like a whole answer, only the last one is whole."""
    payload.is_part = True
    for piece in payload.pieces:
        piece.is_last = place.document == place.n_documents - 1


def _stream_id(payload: Payload, place: Place) -> str:
    """The id of the response a piece belongs to; "" where it is unknown."""
    key = payload.key or place.key
    if key and (payload.is_keyed or not payload.id):
        return key
    if payload.id:
        place.stream_id = payload.id
    elif not place.stream_id and (place.n_documents > 1 or all(piece.is_last for piece in payload.pieces)):
        place.stream_id = place.name(place.n_streams)
    return place.stream_id


def _has_content(payload: Payload, piece: Piece) -> bool:
    """Whether a piece makes an event; every numbered piece does, so that gaps are noticed."""
    return bool(payload.sequence is not None or piece.tokens or piece.text or piece.is_last)


def _signal_of_piece(piece: Piece) -> Signal:
    if piece.tokens:
        return raw_signal(piece.tokens)
    return Signal(problems={"text_without_logprobs": 1} if piece.text and piece.tokens is None else {})


def _whole_signal(payload: Payload, piece: Piece) -> Signal:
    if piece.tokens is None:
        return Signal(problems={"not_requested": 1})
    piece.tokens.segments = _split_segments(piece.tokens, payload)
    return raw_signal(piece.tokens)


def _split_segments(tokens: Tokens, payload: Payload) -> list[int]:
    """The segment of each token of an undivided list, by the token that ends the reasoning or by its token count."""
    n = len(tokens)
    if any(tokens.segments):
        return tokens.segments
    if _END_OF_THINKING in tokens.chosen_names:
        n_reasoning = tokens.chosen_names.index(_END_OF_THINKING) + 1
    elif not payload.n_reasoning or payload.n_completion is None or len(payload.pieces) > 1:
        return tokens.segments
    else:
        is_all = n >= payload.n_completion - 1
        n_reasoning = min(payload.n_reasoning, n) if is_all else 0
        if not is_all and n > payload.n_completion - payload.n_reasoning + 1:
            return [SEGMENT_UNKNOWN] * n
    return [SEGMENT_REASONING] * n_reasoning + [SEGMENT_ANSWER] * (n - n_reasoning)


def _n_completion(payload: Payload, piece: Piece, n_listed: int) -> int | None:
    """Generated tokens of one choice: its share of the count that servers give for all choices together."""
    if piece.n_completion is not None or payload.n_completion is None:
        return piece.n_completion
    if len(payload.pieces) == 1:
        return payload.n_completion
    return round(payload.n_completion * len(piece.tokens or ()) / n_listed) if n_listed else None
