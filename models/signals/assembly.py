"""Responses that arrive in pieces: chunks in, complete responses out, features updated piece by piece.

Owns the responses in flight. Bounded by ``max_in_flight`` responses (the longest silent gives way), by
``max_waiting`` out-of-order pieces of one response, and by the accumulator's own bound on tokens. A response
without news for ``expiry_s`` of event time is given up.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from driftgauge.models.events import Chunk
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.in_flight import InFlight, latest, take
from driftgauge.models.signals.in_flight_state import pack, unpack
from driftgauge.models.signals.signal_counts import SignalCounts


@dataclass(frozen=True, slots=True)
class AssemblySettings:
    """Bounds of the assembly: counts of responses and pieces, seconds of event time.

    ``trailer_wait_s`` is how long a response that has ended waits for its token counts.
    """

    max_in_flight: int = 10_000
    max_waiting: int = 64
    expiry_s: float = 600.0
    trailer_wait_s: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """What one chunk did: the response it belongs to, and whether that is now complete, given up or unchanged."""

    response: InFlight
    is_complete: bool
    evicted: InFlight | None = None
    problem: str | None = None


class Assembly:
    """The responses in flight, by id.

    Pieces that are numbered, or that say how many tokens came before, are put in order; a piece seen before is ignored
    and counted; a piece from the future waits for the gap to close. Of a piece that repeats what came before (streams
    of some servers are cumulative) only the new tokens count. Pieces without numbers count in order of arrival.
    """

    def __init__(self, settings: AssemblySettings, variant: EntropyVariant = "published") -> None:
        self.settings = settings
        self.variant: EntropyVariant = variant
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
            response = InFlight(piece, Accumulator(self.variant), piece.signal.form)
        self.n_news += 1
        response.news_number = self.n_news
        self.in_flight[piece.id] = response  # in the last place: the dictionary is in the order of news
        self.touched.add(piece.id)
        response.last_news = max(response.last_news, piece.event_time)
        problem = self._place(response, chunk)
        is_complete = problem is None and self._drain(response, chunk)
        if problem:
            response.counts = response.counts + SignalCounts(problems=Counter([problem]))
        if is_complete:
            self._drop(piece.id)
        return Assembled(response, is_complete, evicted, problem)

    def _place(self, response: InFlight, chunk: Chunk) -> str | None:
        """Notice duplicates and gaps; None when the chunk is the next one."""
        expected = response.expected(chunk)
        number = chunk.position if chunk.sequence is None else chunk.sequence
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
        """Take the chunk and every waiting one it makes room for; True when the response is complete."""
        while chunk is not None:
            take(response, chunk)
            if chunk.is_last:
                response.has_ended = True
                if chunk.trailer_follows:
                    self.ended[response.head.id] = None
                return not chunk.trailer_follows
            chunk = response.waiting.pop(response.expected(chunk), None)
        return False

    def completed_by(self, chunk: Chunk) -> list[InFlight]:
        """The responses that are complete with this piece or trailer."""
        if chunk.is_trailer:
            return self.trail(chunk)
        added = self.add(chunk)
        return [added.response] if added.is_complete else []

    def trail(self, chunk: Chunk) -> list[InFlight]:
        """Take news about a response that has ended, all its choices: they are complete then."""
        ids = [*itertools.takewhile(self.in_flight.__contains__, _choices(chunk.piece.id))]
        found = [self._drop(i) for i in ids if self.in_flight[i].has_ended]
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

    def overdue(self, event_time: float = math.inf) -> list[InFlight]:
        """Responses that ended and whose trailer did not come in time: they are complete without it."""
        oldest = event_time - self.settings.trailer_wait_s
        return [self._drop(i) for i in [*self.ended] if self.in_flight[i].last_news < oldest]

    def replaced(self, response_id: str) -> None:
        """Forget the pieces of a response that came as a whole after all, as the last event of some streams is."""
        if response_id in self.in_flight:
            self._drop(response_id)

    def _make_room(self) -> InFlight | None:
        if len(self.in_flight) < self.settings.max_in_flight:
            return None
        return self._drop(next(iter(self.in_flight)))

    def _drop(self, response_id: str) -> InFlight:
        self.touched.add(response_id)
        self.ended.pop(response_id, None)
        return self.in_flight.pop(response_id)

    def expire(self, event_time: float) -> list[InFlight]:
        """Let go of every response without news for ``expiry_s`` before this time; some may have ended after all."""
        oldest = event_time - self.settings.expiry_s
        expired = [self._drop(i) for i in [i for i, r in self.in_flight.items() if r.last_news < oldest]]
        for response in expired:
            response.close_gaps()
        return expired

    def snapshot(self, ids: Collection[str]) -> dict[str, bytes | None]:
        """State of these responses by id; None for one no longer in flight."""
        return {i: pack(self.in_flight[i]) if i in self.in_flight else None for i in ids}

    def restore(self, state: dict[str, bytes]) -> Assembly:
        """Take over what `snapshot` gave; returns self."""
        unpacked = [unpack(blob, self.variant) for blob in state.values()]
        unpacked.sort(key=lambda response: response.news_number)
        self.in_flight = {response.head.id: response for response in unpacked}
        self.ended = {i: None for i, response in self.in_flight.items() if response.has_ended}
        return self


def _choices(response_id: str) -> Iterator[str]:
    yield response_id
    for index in itertools.count(1):
        yield f"{response_id}#{index}"


def _has_news(response: InFlight, chunk: Chunk) -> bool:
    """Whether a piece that starts in the past reaches beyond what is known, or ends the response."""
    if chunk.sequence is not None:
        return False
    return chunk.is_last or (chunk.position or 0) + chunk.piece.signal.n_tokens > response.accumulator.n_tokens
