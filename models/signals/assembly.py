"""Responses that arrive in pieces: chunks in, complete responses out, features updated piece by piece.

Owns the responses in flight. At most ``max_in_flight`` of them are kept: the one that has been without a new piece for
longest is evicted for a new one. At most ``max_waiting`` pieces of one response wait for an earlier piece. The
accumulator bounds the memory of the tokens. A response without a new piece for ``expiry_s`` of event time is evicted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from msgspec.structs import replace

from driftgauge.models.events import Chunk, Generation
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec
from driftgauge.models.signals.in_flight import InFlight, latest
from driftgauge.models.signals.in_flight_state import pack, unpack
from driftgauge.models.signals.signal_counts import SignalCounts

Now: TypeAlias = Callable[[Generation], float]


def _end_of_time(_: Generation) -> float:
    return math.inf


@dataclass(frozen=True, slots=True)
class AssemblySettings:
    """Bounds of the assembly.

    Attributes
    ----------
    max_in_flight : responses in flight
    max_waiting : pieces of one response that wait for an earlier piece
    expiry_s : seconds of event time without a new piece, after which a response is evicted
    trailer_wait_s : seconds of event time that a response that has ended waits for the trailer with its token counts
    """

    max_in_flight: int = 10_000
    max_waiting: int = 64
    expiry_s: float = 600.0
    trailer_wait_s: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """The effect of one piece.

    Attributes
    ----------
    response : the response to which the piece belongs
    is_complete : whether the response is complete with this piece
    evicted : another response that was evicted for this one
    problem : why the piece was not taken yet, or never will be; None when it was taken
    """

    response: InFlight
    is_complete: bool
    evicted: InFlight | None = None
    problem: str | None = None


class Assembly:
    """The responses in flight, by id.

    Pieces with a number, or with the number of tokens before them, are put in order. A piece seen before is ignored and
    counted. A piece that arrives early waits for the pieces before it. Of a piece that repeats earlier tokens (the
    streams of some servers are cumulative) only the new tokens are taken. Pieces without a number are taken in the
    order of arrival.

    Attributes
    ----------
    in_flight : responses by id, the one without a new piece for longest first
    touched : ids whose state changed; the owner saves these and clears the set
    ended : ids of responses that have ended and wait for a trailer, in the order in which they ended
    n_news : pieces taken or refused so far
    """

    def __init__(self, settings: AssemblySettings, spec: FeatureSpec = DEFAULT_SPEC) -> None:
        self.settings = settings
        self.spec = spec
        self.in_flight: dict[str, InFlight] = {}
        self.touched: set[str] = set()
        self.ended: dict[str, None] = {}
        self.n_news = 0

    def add(self, chunk: Chunk) -> Assembled:
        """Take one piece."""
        piece, evicted = chunk.piece, None
        response = self.in_flight.pop(piece.id, None)
        if response is None:
            evicted = self._make_room()
            response = InFlight(piece, Accumulator(self.spec), piece.signal.form)
        self.n_news += 1
        response.news_number = self.n_news
        self.in_flight[piece.id] = response  # moved to the end: the dictionary is in the order of the newest pieces
        self.touched.add(piece.id)
        response.last_news = max(response.last_news, piece.event_time)
        problem = self._place(response, chunk)
        is_complete = problem is None and self._drain(response, chunk)
        if problem:
            response.counts = response.counts + SignalCounts(problems=Counter([problem]))
        if is_complete:
            self._remove(piece.id)
        return Assembled(response, is_complete, evicted, problem)

    def _place(self, response: InFlight, chunk: Chunk) -> str | None:
        """Find duplicates and gaps; returns the problem, or None when the chunk is the next one."""
        expected = response.expected(chunk)
        number = chunk.position if chunk.sequence is None else chunk.sequence
        if number is None and response.has_ended and _goes_on(chunk):
            return "piece_after_end"
        if number is None or number == expected:
            return None
        if number in response.waiting:
            return "duplicate_chunk"
        if number < expected:
            return None if _has_news(response, chunk) else "duplicate_chunk"
        if len(response.waiting) >= self.settings.max_waiting:
            return "too_many_chunks_waiting"
        response.waiting[number] = chunk
        return "chunk_out_of_order"

    def _drain(self, response: InFlight, chunk: Chunk | None) -> bool:
        """Take the chunk and every waiting one that follows; returns whether the response is complete."""
        while chunk is not None:
            response.take(chunk)
            if chunk.is_last:
                response.has_ended = True
                if chunk.trailer_follows:
                    self.ended[response.head.id] = None
                return not chunk.trailer_follows
            chunk = response.waiting.pop(response.expected(chunk), None)
        return False

    def completed_by(self, chunk: Chunk) -> list[InFlight]:
        """Take one piece or trailer; returns the responses that are complete with it."""
        if chunk.is_trailer:
            return self.take_trailer(chunk)
        added = self.add(chunk)
        return [added.response] if added.is_complete else []

    def take_trailer(self, chunk: Chunk) -> list[InFlight]:
        """Take the token counts of a response that has ended; returns all its choices: they are complete with them."""
        ids = [*itertools.takewhile(self.in_flight.__contains__, _choices(chunk.piece.id))]
        found = [self._remove(i) for i in ids if self.in_flight[i].has_ended]
        n_all, n_completion = sum(r.accumulator.n_tokens for r in found), chunk.piece.n_completion_tokens
        for response in found:
            share = response.accumulator.n_tokens / n_all if len(found) > 1 and n_all else 1
            n = response.head.n_completion_tokens if n_completion is None else round(n_completion * share)
            head, piece = response.head, chunk.piece
            response.head = replace(
                head,
                n_prompt_tokens=latest(head.n_prompt_tokens, piece.n_prompt_tokens),
                n_completion_tokens=n,
                n_reasoning_tokens=latest(head.n_reasoning_tokens, piece.n_reasoning_tokens),
            )
        return found

    def overdue(self, now: Now = _end_of_time) -> list[InFlight]:
        """Remove and return the ended responses whose trailer has not arrived in time: they are complete without it.

        ``now`` gives the event time that a response has reached.
        """
        wait_s = self.settings.trailer_wait_s
        late = [i for i in self.ended if self.in_flight[i].last_news < now(self.in_flight[i].head) - wait_s]
        return [self._remove(i) for i in late]

    def discard(self, response_id: str) -> None:
        """Remove a response that arrived as a whole: the last event of some streams repeats the whole response."""
        if response_id in self.in_flight:
            self._remove(response_id)

    def _make_room(self) -> InFlight | None:
        if len(self.in_flight) < self.settings.max_in_flight:
            return None
        return self._remove(next(iter(self.in_flight)))

    def _remove(self, response_id: str) -> InFlight:
        self.touched.add(response_id)
        self.ended.pop(response_id, None)
        return self.in_flight.pop(response_id)

    def expire(self, now: Now) -> list[InFlight]:
        """Evict every response without a new piece for ``expiry_s`` before the event time that it has reached.

        Its waiting pieces are taken, so a response may turn out to have ended (`InFlight.has_ended`).
        """
        expiry_s = self.settings.expiry_s
        silent = [i for i, r in self.in_flight.items() if r.last_news < now(r.head) - expiry_s]
        expired = [self._remove(i) for i in silent]
        for response in expired:
            response.close_gaps()
        return expired

    def snapshot(self, ids: Collection[str]) -> dict[str, bytes | None]:
        """State of these responses as bytes, by id; None for a response that is no longer in flight."""
        return {i: pack(self.in_flight[i]) if i in self.in_flight else None for i in ids}

    def restore(self, state: dict[str, bytes]) -> Assembly:
        """Continue from a snapshot; returns self."""
        unpacked = [unpack(blob, self.spec) for blob in state.values()]
        unpacked.sort(key=lambda response: response.news_number)
        self.in_flight = {response.head.id: response for response in unpacked}
        self.ended = {i: None for i, response in self.in_flight.items() if response.has_ended}
        return self


def _choices(response_id: str) -> Iterator[str]:
    """Ids of the choices of one request, as the decoder makes them."""
    yield response_id
    for index in itertools.count(1):
        yield f"{response_id}#{index}"


def _goes_on(chunk: Chunk) -> bool:
    """Whether a piece is more than news about a response that has ended: two choices may share an index."""
    return chunk.piece.signal.n_tokens > 0 or (chunk.is_last and chunk.piece.n_completion_tokens is None)


def _has_news(response: InFlight, chunk: Chunk) -> bool:
    """Whether a piece that repeats known tokens also has new ones, or ends the response."""
    if chunk.sequence is not None:
        return False
    return chunk.is_last or (chunk.position or 0) + chunk.piece.signal.n_tokens > response.accumulator.n_tokens
