"""A piece of a response arrives: it is put to its response, and the last piece completes it.

Pieces of all responses are assembled, as many say neither model nor domain: the whole shows whether it is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.responses import Responses
from driftgauge.models.events import Arrival, Chunk, Generation, Rejected, RejectReason
from driftgauge.models.outputs import Prediction
from driftgauge.models.repeats import is_end_of
from driftgauge.models.signals.arrivals import arrive, with_k
from driftgauge.models.signals.in_flight import InFlight

SILENT_S = 86_400.0


class Pieces:
    """Assembles responses that arrive in pieces. Its methods yield the responses that become complete."""

    def __init__(self, batch: Batch, responses: Responses) -> None:
        self._batch = batch
        self._responses = responses
        self._assembly = batch.state.assembly

    def take(self, chunk: Chunk) -> Iterator[Arrival]:
        """Add a piece to its response.

        Pieces under the id of a known response are assembled too: only the whole shows whether it is a repeat.
        """
        counters, is_known = self._batch.state.counters, self._responses.is_known(chunk.piece.id)
        if chunk.is_trailer and is_known and chunk.piece.id not in self._assembly.in_flight:
            counters["duplicate_chunks"] += 1
            return
        counters["chunks"] += 1
        if chunk.is_trailer:
            for response in self._assembly.take_trailer(chunk):
                yield from self._complete(response)
            return
        done = self._assembly.add(chunk)
        if done.problem:
            counters[f"signal_{done.problem}"] += 1
        if done.evicted:
            yield from self._evict(done.evicted, "too_many_in_flight")
        if done.is_complete:
            yield from self._complete(done.response)
        elif self._batch.settings.predictions == "all" and not done.problem and not is_known:
            self._predict_early(done.response)

    def overdue(self) -> Iterator[Arrival]:
        """Complete the responses that have waited for their token counts for too long."""
        for response in self._assembly.overdue(self._now):
            yield from self._complete(response)

    def expire(self) -> Iterator[Arrival]:
        """Evict the responses for which no piece came in a long time."""
        expired = self._assembly.expire(self._now)
        self._batch.recall_responses([response.head for response in expired])
        for response in expired:
            yield from self._evict(response, "incomplete_response")

    def _now(self, head: Generation) -> float:
        """Event time of the partition that a response comes from, so that uneven reading evicts nothing.

        A partition that fell silent follows the others `SILENT_S` later.
        """
        state = self._batch.state
        return max(state.clock.of(head.origin.partition), state.watermark - SILENT_S)

    def _complete(self, response: InFlight) -> Iterator[Arrival]:
        """The response, unless it is passed over, or only the end of a known response came again."""
        if not self._takes(response):
            self._batch.state.counters["responses_passed_over"] += 1
            return
        self._batch.recall_responses([response.head])  # another event completed it, so it may not be recalled yet
        settings = self._batch.settings
        arrival = arrive(
            response.complete(), response.features(), settings.min_coverage,
            response.form, response.observed_k, response.opening, response.accumulator.n_tokens,
        )  # fmt: skip
        name = response.head.id
        if self._responses.is_known(name) and is_end_of(arrival, self._responses.row_of(name)):
            self._count_repeated(response)
        else:
            yield arrival

    def _evict(self, response: InFlight, reason: RejectReason) -> Iterator[Arrival]:
        """Stop waiting for a response: it is complete if its end came, else it becomes a dead letter of its agent.

        Some pieces of a known response that came again are only counted.
        """
        if response.has_ended or not self._takes(response):
            yield from self._complete(response)
            return
        self._batch.recall_responses([response.head])
        if self._responses.is_known(response.head.id):
            self._count_repeated(response)
            return
        detail = f"response given up after {response.accumulator.n_tokens} tokens: no last chunk came"
        self._batch.reject(Rejected(reason, detail, key=response.head.id.encode()))

    def _takes(self, response: InFlight) -> bool:
        return self._batch.settings.selection.takes(response.head)

    def _count_repeated(self, response: InFlight) -> None:
        self._batch.state.counters["duplicate_chunks"] += response.next_sequence + len(response.waiting)

    def _predict_early(self, response: InFlight) -> None:
        """Emit a prediction for a response that is still being generated."""
        if not self._takes(response):
            return
        self._responses.flush()
        head, observed = response.head, response.observed_k
        may_be_less = observed is not None and observed.may_be_less
        shown = with_k(head.context, observed)
        fingerprint = self._responses.fingerprint(shown, response.form, head.domain, k_may_be_less=may_be_less)
        context = self._batch.state.contexts.get(fingerprint)
        if context is None:
            return
        features = response.features_so_far()
        p_correct = float(context.committee.predict_proba(features[None], [head.domain])[0])
        self._batch.emit(
            Prediction(
                head.id, head.domain, fingerprint, head.event_time, None if math.isnan(p_correct) else p_correct,
                response.accumulator.n_tokens, context.committee.classifier_version, is_final=False,
                number=self._batch.next_prediction(),
            )
        )  # fmt: skip
