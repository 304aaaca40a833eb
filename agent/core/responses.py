"""A response arrives: it gets a context, a domain and a prediction, is stored, and enters the window of its domain.

Responses between two labels form a *run*. A run is predicted at once, so that prediction stays vectorised although
each label may change the classifier. `Responses.flush` ends a run where its effects must be visible.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.emission import Emission
from driftgauge.agent.core.labels import Labels
from driftgauge.agent.core.roster import Roster
from driftgauge.agent.core.serving import Serving
from driftgauge.agent.core.sorting import Sorting
from driftgauge.agent.core.watching import Watching
from driftgauge.models.aliases import FIRST_CHOICE, claimed
from driftgauge.models.events import Arrival, Context, Generation, Rejected, SignalForm
from driftgauge.models.outputs import Prediction
from driftgauge.models.probes import is_probe_context, kept_apart
from driftgauge.models.repeats import is_repeat
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import ALL_DOMAINS, SeriesKey


@lru_cache(maxsize=4096)
def fingerprint_of(context: Context, form: SignalForm) -> str:
    """The fingerprint of a context; the same few contexts come with every response."""
    return context.fingerprint(form)


class _Member(NamedTuple):
    """A response of the run; the allowance is that of each of its values (`Allowance`)."""

    arrival: Arrival
    domain: DomainState
    allowance: float


class Responses:
    """Accepts complete responses with their features."""

    def __init__(self, batch: Batch, roster: Roster, labels: Labels, watching: Watching, emission: Emission) -> None:
        self._batch = batch
        self._roster = roster
        self._labels = labels
        self._watching = watching
        self._serving = Serving(batch)
        self._sorting = Sorting(batch)
        self._emission = emission
        self._run: list[_Member] = []
        self._ids_in_run: set[str] = set()

    def is_known(self, response_id: str) -> bool:
        """Whether a response with this id was accepted before."""
        return response_id in self._batch.rows or response_id in self._ids_in_run

    def row_of(self, response_id: str) -> ResponseRow:
        """The stored row of a known response."""
        if response_id in self._ids_in_run:
            self.flush()
        return self._batch.rows[response_id]

    def accept_again(self, arrival: Arrival) -> None:
        """Ignore a response that is known already; one with other content under the same id becomes a dead letter."""
        batch, generation = self._batch, arrival.generation
        row = self.row_of(generation.id)
        if is_repeat(arrival, row):
            batch.state.counters["duplicate_responses"] += 1
            if names := self._claim_aliases(generation):
                self.flush()  # the labels may change the classifier, and the run came before them
                self._labels.join_adopted(row, names)
            return
        detail = "another response has this id; decode.response_id can name responses by more than their id"
        batch.reject(Rejected("id_conflict", detail, key=generation.id.encode(), event=generation))
        message = "ids of responses repeat with other content (dead letters id_conflict): configure decode.response_id"
        series = SeriesKey(ALL_DOMAINS, row.fingerprint)
        batch.alert("id_conflict", series, "response_id", message, at=generation.event_time, rows=[generation.id])

    def accept(self, arrival: Arrival) -> None:
        """Add a new response to the run; join the labels that came before it; emit an estimate early if it moved."""
        batch, fingerprint = self._batch, self._context(arrival)
        arrival = self._sorting.sorted(arrival, fingerprint)
        generation = arrival.generation
        domain = self._roster.bring_domain(generation.domain, fingerprint)
        is_first = domain.last_response < 0
        domain.last_response, domain.last_boundary = batch.state.n_responses + len(self._run), batch.state.boundary
        self._run.append(_Member(arrival, domain, self._watching.see_arrival(domain, is_first=is_first)))
        self._ids_in_run.add(generation.id)
        domain.events_since += 1
        domain.is_changed = True
        names = self._claim_aliases(generation)
        if names or batch.labels.get(generation.id):
            self.flush()
            self._labels.join_pending(batch.rows[generation.id], names)
        if domain.events_since >= batch.settings.emit_every_events:
            self.flush()
            self._emission.emit_if_material(domain)

    def fingerprint(self, context: Context, form: SignalForm, domain: str, *, k_may_be_less: bool) -> str:
        """The fingerprint of a context; of two contexts that a response may belong to, that of a known one."""
        if k_may_be_less and context.k:
            fingerprint = kept_apart(fingerprint_of(replace(context, k=context.k - 1), form), domain)
            if fingerprint in self._batch.state.contexts:
                return fingerprint
        return kept_apart(fingerprint_of(context, form), domain)

    def flush(self) -> None:
        """Predict the run at once, store it, and update windows and detectors in order of arrival."""
        if not self._run:
            return
        run, self._run, self._ids_in_run = self._run, [], set()
        p_correct = self._predict(run)
        rows = [self._row(of.arrival, of.domain, p) for of, p in zip(run, p_correct, strict=True)]
        self._batch.memory.add_responses(rows)
        self._batch.rows.update((row.id, row) for row in rows)
        by_domain: dict[int, list[ResponseRow]] = defaultdict(list)
        for (arrival, domain, allowance), row in zip(run, rows, strict=True):
            by_domain[id(domain)].append(row)
            self._count(arrival, row)
            domain.traffic.add(row.event_time, self._batch.state.boundary)
            self._watching.see_response(domain, row, arrival.coverage, allowance, by_domain[id(domain)])
            self._serving.see_response(arrival, row, allowance)
        for domain in {id(of.domain): of.domain for of in run}.values():
            domain.window.add(by_domain[id(domain)])

    def _claim_aliases(self, generation: Generation) -> list[str]:
        """Store the aliases of a response; returns those that name it alone and under which labels are pending."""
        batch, found = self._batch, []
        for name in generation.aliases:
            known = batch.aliases.get(name)
            alias = claimed(known, name, generation.id, generation.event_time)
            if alias is not known:
                batch.aliases[name] = alias
                batch.memory.add_aliases([alias])
            if alias.response_id is not None:
                found.append(name)
        found.append(generation.id + FIRST_CHOICE)
        return [name for name in found if batch.labels.get(name) and not self.is_known(name)]

    def _context(self, arrival: Arrival) -> str:
        """The fingerprint of the response; its context starts when it is new, and goes on when it had left."""
        batch, generation = self._batch, arrival.generation
        fingerprint = self.fingerprint(
            generation.context, arrival.form, generation.domain, k_may_be_less=arrival.k_may_be_less
        )
        contexts = batch.state.contexts
        if fingerprint in contexts:
            return fingerprint
        series, model = SeriesKey(ALL_DOMAINS, fingerprint), generation.context.model or "(unnamed)"
        returned = self._roster.bring_context(fingerprint)
        context = returned or self._new_context(generation.context.model, fingerprint)
        context.number = 1 + max((other.number for other in contexts.values()), default=-1)
        contexts[fingerprint] = context
        batch.state.touched_contexts.add(fingerprint)
        if returned is not None:
            message = f"model {model} is back in a context that had left: it goes on with its state"
            batch.alert("returned_context", series, "context", message, at=generation.event_time)
            return fingerprint
        kind, effect = "new_context", "it starts its own state"
        if arrival.problem == "uninformative":
            kind, effect = "refused_context", "its log-probabilities tell nothing"
        message = f"model {model} in a context not seen before: {effect}"
        batch.alert(kind, series, "context", message, at=generation.event_time)
        return fingerprint

    def _new_context(self, model: str, fingerprint: str) -> ContextState:
        """Start from the last context of the same kind, from a fitted file, or from nothing, as configured."""
        settings, known = self._batch.settings, self._batch.state.contexts.items()
        contexts = [context for name, context in known if is_probe_context(name) == is_probe_context(fingerprint)]
        start = settings.fitted
        if settings.warm_start and contexts:
            start = max(contexts, key=lambda context: context.number).snapshot()
        context = ContextState(settings) if start is None else ContextState.restore(settings, start)
        context.model = model
        return context

    def _predict(self, run: list[_Member]) -> list[float]:
        """p_correct of each response of a run; NaN where the features are unusable or the classifier has no labels."""
        p_correct = np.full(len(run), np.nan)
        by_context: dict[str, list[int]] = defaultdict(list)
        for i, of in enumerate(run):
            if of.arrival.problem is None:
                by_context[of.domain.series.fingerprint].append(i)
        for fingerprint, members in by_context.items():
            features = np.array([run[i].arrival.features for i in members])
            domains = [run[i].domain.series.domain for i in members]
            p_correct[members] = self._batch.state.contexts[fingerprint].committee.predict_proba(features, domains)
        return p_correct.tolist()

    def _row(self, arrival: Arrival, domain: DomainState, p_correct: float) -> ResponseRow:
        state, generation = self._batch.state, arrival.generation
        seq, state.n_responses = state.n_responses, state.n_responses + 1
        return ResponseRow(
            seq=seq,
            id=generation.id,
            domain=domain.series.domain,
            fingerprint=domain.series.fingerprint,
            event_time=generation.event_time,
            features=arrival.features,
            p_correct=p_correct,
            classifier_version=state.contexts[domain.series.fingerprint].committee.classifier_version,
            n_tokens=arrival.n_tokens,
            slices=generation.slices,
            finish_reason=generation.finish_reason,
            text=generation.text,
        )

    def _count(self, arrival: Arrival, row: ResponseRow) -> None:
        counters = self._batch.state.counters
        counters["responses"] += 1
        if arrival.problem:
            counters[f"unusable_{arrival.problem}"] += 1
        for reason, count in arrival.generation.signal.problems.items():
            counters[f"signal_{reason}"] += count
        for reason in arrival.generation.problems:
            counters[f"response_{reason}"] += 1
        if self._batch.mark_stale(row):
            counters["late_responses"] += 1
        if self._batch.settings.predictions != "none":
            self._batch.emit(_prediction(row, self._batch.next_prediction()))


def _prediction(row: ResponseRow, number: int) -> Prediction:
    p_correct = None if math.isnan(row.p_correct) else row.p_correct
    return Prediction(
        row.id, row.domain, row.fingerprint, row.event_time, p_correct, row.n_tokens, row.classifier_version,
        is_final=True, number=number,
    )  # fmt: skip
