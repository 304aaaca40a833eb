"""Payloads to events: one response or chunk per choice, with its id, time, domain and context.

Signals are not normalised here. A field that the payload lacks comes from its envelope, and otherwise from the key or
the timestamp of its record. A response without any id is named by the place of its record. A chunk without any id is
rejected, because nothing names the response it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    Piece,
    Tokens,
    checked_time,
    id_of,
    in_seconds,
    is_answer,
)
from driftgauge.connectors.decoding.lookup import Sources
from driftgauge.connectors.decoding.names import clean, name_of, without_controls
from driftgauge.connectors.decoding.naming import NameRules, Place, aliases_of, ids_of_record, stream_id_of
from driftgauge.connectors.decoding.rules import raw_signal
from driftgauge.models.events import (
    NO_DOMAIN,
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


class EventMaker:
    """Makes events from payloads."""

    def __init__(self, *, default_domain: str, keep_text: bool, limits: Limits, names: NameRules | None = None) -> None:
        self.default_domain = default_domain
        self.keep_text = keep_text
        self.limits = limits
        self.names = names or NameRules()

    def events(self, payload: Payload, place: Place, document: bytes = b"") -> list[Generation | Chunk]:
        """One event per choice; none for an empty piece of a stream."""
        self._check(payload)
        if self.names.is_set:
            documents = tuple(dict.fromkeys((*payload.documents, document)))
            self._look_up(payload, place, Sources(place.record, documents))
        if place.is_stream and not payload.is_part and all(piece.is_cumulative for piece in payload.pieces):
            _as_part(payload, place)
        if payload.is_part:
            return list(self._chunks(payload, place))
        return list(self._responses(payload, place))

    def _look_up(self, payload: Payload, place: Place, sources: Sources) -> None:
        """Take the names that settings point to; they go before those of the format."""
        names = self.names
        payload.domain = names.domain.name(sources) or payload.domain
        payload.parameters.revision = names.model_revision.name(sources) or payload.parameters.revision
        payload.slices = {name: value for name, rule in names.slices.items() if (value := rule.name(sources))}
        payload.aliases += self._aliases(sources)
        if names.response_id:
            if not (name := self._response_id(sources)):
                payload.problems["response_id_not_found"] = 1
                return
            payload.aliases.append(payload.id)
            is_shared = not payload.is_part and all(path[0] != "payload" for path in names.response_id)
            payload.id = name + (f"/{place.document}" if is_shared and place.document else "")
            payload.is_keyed = False

    def _response_id(self, sources: Sources) -> str:
        """The id that settings point to; "" where a part of it is missing."""
        parts = [name_of(sources.value(path)) for path in self.names.response_id]
        return id_of("/".join(parts)) if all(parts) else ""

    def _aliases(self, sources: Sources) -> list[str]:
        """The further ids that settings point to."""
        return [name for path in self.names.aliases if (name := name_of(sources.value(path)))]

    def named(self, generation: Generation, sources: Sources) -> Generation:
        """An own event with the names that settings point to."""
        names, problems = self.names, dict(generation.problems)
        domain = names.domain.name(sources)
        if domain:
            problems.pop(NO_DOMAIN, None)
        revision = names.model_revision.name(sources) or generation.context.model_revision
        slices = {name: value for name, rule in names.slices.items() if (value := rule.name(sources))}
        context = generation.context
        name = self._response_id(sources) if names.response_id else generation.id
        if not name:
            problems["response_id_not_found"] = 1
        elif name != generation.id:
            generation = replace(generation, id=name, aliases=(generation.id, *generation.aliases))
        return replace(
            generation,
            aliases=aliases_of(generation.id, [*generation.aliases, *self._aliases(sources)]),
            domain=domain or generation.domain,
            context=context if revision == context.model_revision else replace(context, model_revision=revision),
            slices={**generation.slices, **slices},
            problems=problems,
        )

    def _responses(self, payload: Payload, place: Place) -> Iterator[Generation]:
        """The choices of a whole body."""
        name = payload.id or payload.key or place.key_of_document or payload.other_id or place.name(place.document)
        n_listed = sum(len(piece.tokens or ()) for piece in payload.pieces)
        is_one, indices = len(payload.pieces) == 1, [piece.index for piece in payload.pieces]
        if len(set(indices)) < len(indices):
            indices = [*range(len(indices))]
            payload.problems["repeated_index"] = 1
        for place_of_choice, (index, piece) in enumerate(zip(indices, payload.pieces, strict=True)):
            if not is_answer(piece.finish_reason):
                place.errors.append(_no_answer(piece))
                continue
            yield self._generation(
                payload, piece, place,
                name=name if is_one else f"{name}#{index}",
                index=None if is_one else index,
                signal=_whole_signal(payload, piece),
                n_completion=_n_completion(payload, piece, n_listed, place_of_choice),
            )  # fmt: skip

    def end(self, place: Place) -> list[Chunk]:
        """The trailer that marks the end of a stream."""
        name = place.stream_id or place.key
        if not name:
            return []
        empty = Generation(name, place.record.timestamp, self.default_domain, Context(), Signal())
        return [Chunk(empty, None, is_last=True, is_trailer=True)]

    def _chunks(self, payload: Payload, place: Place) -> Iterator[Chunk]:
        name = stream_id_of(payload, place)
        if not payload.pieces:
            yield from self._trailer(payload, place, name)
        for piece in payload.pieces:
            if self.names.single_choice:
                piece.index = 0
            if not is_answer(piece.finish_reason):
                place.errors.append(_no_answer(piece))
                continue
            if not _has_content(payload, piece):
                continue
            if not name:
                raise PayloadError("no_id", "a piece of a stream has no id: put the response id into the record key")
            place.open_indices.add(piece.index)
            if piece.is_last:
                place.open_indices.discard(piece.index)
            yield self._chunk(payload, piece, place, f"{name}#{piece.index}" if piece.index else name)
        if any(piece.is_last for piece in payload.pieces) and not payload.id and not place.open_indices:
            place.stream_id, place.n_streams = "", place.n_streams + 1

    def _trailer(self, payload: Payload, place: Place, name: str) -> list[Chunk]:
        if payload.n_completion is None or not name:
            return []
        piece = self._generation(
            payload, Piece(), place, name=name, index=None, signal=Signal(), n_completion=payload.n_completion
        )
        return [Chunk(piece, None, is_last=True, is_trailer=True)]

    def _chunk(self, payload: Payload, piece: Piece, place: Place, name: str) -> Chunk:
        generation = self._generation(
            payload, piece, place, name=name, index=piece.index or None, signal=_signal_of_piece(piece),
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
        self,
        payload: Payload,
        piece: Piece,
        place: Place,
        *,
        name: str,
        index: int | None,
        signal: Signal,
        n_completion: int | None,
    ) -> Generation:
        parameters = payload.parameters
        event_time = _event_time(payload, place.record)
        problems = payload.problems if payload.domain else {**payload.problems, NO_DOMAIN: 1}
        further = [payload.id, *payload.aliases, payload.key, payload.other_id, *ids_of_record(place.record)]
        return Generation(
            id=name,
            event_time=event_time,
            domain=payload.domain or self.default_domain,
            context=Context(
                clean(payload.model), parameters.revision and clean(parameters.revision), parameters.temperature,
                parameters.top_p, parameters.logprobs_mode, parameters.k,
            ),
            signal=signal,
            slices=payload.slices,
            finish_reason=piece.finish_reason,
            n_prompt_tokens=payload.n_prompt,
            n_completion_tokens=n_completion,
            n_reasoning_tokens=payload.n_reasoning,
            text=without_controls(piece.text) if self.keep_text else None,
            aliases=aliases_of(name, further, index),
            problems=problems,
        )  # fmt: skip

    def _check(self, payload: Payload) -> None:
        limits = self.limits
        if len(payload.pieces) > limits.max_choices:
            raise PayloadError("too_many_choices", f"{len(payload.pieces)} choices; the bound is {limits.max_choices}")
        for piece in payload.pieces:
            if piece.tokens:
                limits.check(len(piece.tokens), max(piece.tokens.counts))


def _no_answer(piece: Piece) -> PayloadError:
    return PayloadError("error_response", f"the response ended with {piece.finish_reason}")


def _event_time(payload: Payload, record: Record) -> float:
    """Seconds since the epoch: of the payload, else of the record; of a file, also in another unit than seconds."""
    if payload.created is not None:
        return payload.created
    if record.timestamp > 0 or payload.misread_created is None:
        return checked_time(record.timestamp)
    if (seconds := in_seconds(payload.misread_created)) is not None:
        payload.problems["created_in_other_unit"] = 1
        return seconds
    return checked_time(record.timestamp)


def _as_part(payload: Payload, place: Place) -> None:
    """Make the payload a piece: in a stream whose every event looks like a whole answer, only the last one is whole."""
    payload.is_part = True
    for piece in payload.pieces:
        piece.is_last = place.document == place.n_documents - 1


def _has_content(payload: Payload, piece: Piece) -> bool:
    """Whether a piece makes an event; every numbered piece does, so that gaps are noticed."""
    return bool(payload.sequence is not None or piece.tokens or piece.text or piece.is_last)


def _signal_of_piece(piece: Piece) -> Signal:
    n_without = piece.n_without_logprobs or int(bool(piece.text and piece.tokens is None))
    problems = {"text_without_logprobs": n_without} if n_without else {}
    if not piece.tokens:
        return Signal(problems=problems)
    signal = raw_signal(piece.tokens)
    return replace(signal, problems={**signal.problems, **problems}) if problems else signal


def _whole_signal(payload: Payload, piece: Piece) -> Signal:
    if piece.tokens is None:
        return Signal(problems={} if "logprobs_not_read" in payload.problems else {"not_requested": 1})
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


def _n_completion(payload: Payload, piece: Piece, n_listed: int, place: int) -> int | None:
    """Generated tokens of one choice: its share of the count that servers give for all choices together.

    Some servers count those of the first choice only: more tokens are listed then than were generated.
    """
    if piece.n_completion is not None or payload.n_completion is None or len(payload.pieces) == 1:
        return payload.n_completion if piece.n_completion is None else piece.n_completion
    if n_listed > payload.n_completion + len(payload.pieces):
        payload.problems["usage_of_one_choice"] = 1
        return None if place else payload.n_completion
    return round(payload.n_completion * len(piece.tokens or ()) / n_listed) if n_listed else None
