"""A piece of a response arrives: it is put to its response, and the last piece completes it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.responses import Responses, fingerprint_of
from driftgauge.models.events import Arrival, Chunk, Generation, Rejected
from driftgauge.models.outputs import Prediction
from driftgauge.models.signals.arrivals import arrive
from driftgauge.models.signals.in_flight import InFlight

SILENT_S = 86_400.0


class Pieces:
    """Assembles responses that arrive in pieces. Its methods yield the responses that become complete."""

    def __init__(self, batch: Batch, responses: Responses) -> None:
        self._batch = batch
        self._responses = responses
        self._assembly = batch.state.assembly

    def take(self, chunk: Chunk) -> Iterator[Arrival]:
        """Add a piece to its response."""
        counters = self._batch.state.counters
        if self._responses.is_known(chunk.piece.id):
            counters["duplicate_chunks"] += 1
            return
        counters["chunks"] += 1
        if chunk.is_trailer:
            for response in self._assembly.take_trailer(chunk):
                yield self._complete(response)
            return
        done = self._assembly.add(chunk)
        if done.problem:
            counters[f"signal_{done.problem}"] += 1
        if done.evicted:
            yield from self._evict(done.evicted, "too_many_in_flight")
        if done.is_complete:
            yield self._complete(done.response)
        elif self._batch.settings.predictions == "all" and not done.problem:
            self._predict_early(done.response)

    def overdue(self) -> Iterator[Arrival]:
        """Complete the responses that have waited for their token counts for too long."""
        for response in self._assembly.overdue(self._now):
            yield self._complete(response)

    def expire(self) -> Iterator[Arrival]:
        """Evict the responses for which no piece came in a long time."""
        for response in self._assembly.expire(self._now):
            yield from self._evict(response, "incomplete_response")

    def _now(self, head: Generation) -> float:
        """Event time of the partition that a response comes from, so that uneven reading evicts nothing.

        A partition that fell silent follows the others `SILENT_S` later.
        """
        state = self._batch.state
        return max(state.clock.of(head.origin.partition), state.watermark - SILENT_S)

    def _complete(self, response: InFlight) -> Arrival:
        self._batch.recall_response(response.head.id)  # another event completed it, so it may not be recalled yet
        settings = self._batch.settings
        features = response.features(segments=settings.segments)
        return arrive(response.complete(), features, settings.min_coverage, response.form)

    def _evict(self, response: InFlight, reason: str) -> Iterator[Arrival]:
        """Stop waiting for a response: it is complete if its end came, else it becomes a dead letter."""
        if response.has_ended:
            yield self._complete(response)
            return
        detail = f"response given up after {response.accumulator.n_tokens} tokens: no last chunk came"
        self._batch.reject(Rejected(reason, detail, key=response.head.id.encode()))

    def _predict_early(self, response: InFlight) -> None:
        """Emit a prediction for a response that is still being generated."""
        self._responses.flush()
        head, fingerprint = response.head, fingerprint_of(response.context, response.form)
        context = self._batch.state.contexts.get(fingerprint)
        if context is None:
            return
        features = response.features(segments=self._batch.settings.segments)
        p_correct = float(context.committee.predict_proba(features[None], [head.domain])[0])
        self._batch.emit(
            Prediction(
                head.id, head.domain, fingerprint, head.event_time, None if math.isnan(p_correct) else p_correct,
                response.accumulator.n_tokens, context.committee.classifier_version, is_final=False,
            )
        )  # fmt: skip
