"""THE MAIN LINE: events in, outputs out. Pure: no I/O, no clock, no chance.

A `Pipeline` is a function of (state, events, memory). Features are computed for the whole batch at once, because they
depend on no state; then events take effect in log order, in runs between labels, so that prediction stays
vectorised. What is emitted, and when, depends on events only (their count, their time), never on where one
batch ends and the next begins.

    Response -> features -> predict -> window          Label -> join -> score -> learn -> window
    event time reaches a boundary -> estimate -> drift -> acquire
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from driftgauge.agent.core.estimating import estimate_live, estimate_past, gone_quiet, is_material
from driftgauge.agent.core.state import ContextState, DomainState, PipelineSettings, State
from driftgauge.models import acquisition
from driftgauge.models.events import Arrival, Chunk, Context, Event, Label, Pause, Rejected, SignalForm, Tick
from driftgauge.models.labels import Truth, resolve
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Prediction, estimate_key
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.arrivals import arrive, with_features
from driftgauge.models.signals.assembly import InFlight
from driftgauge.models.watch.drift import Change

Severity: TypeAlias = Literal["info", "warning", "alarm"]


class Pipeline:
    """The agent without its surroundings: usable as a library with any `Memory`."""

    def __init__(self, settings: PipelineSettings, state: State | None = None) -> None:
        self.settings = settings
        self.state = State(settings) if state is None else state

    @classmethod
    def resume(cls, settings: PipelineSettings, memory: Memory) -> Pipeline:
        """Go on from what this memory remembers."""
        return cls(settings, State.resume(settings, memory))

    def step(self, events: Sequence[Event], memory: Memory) -> list[Output]:
        """Let events take effect, in order, and return what there is to say.

        The memory is one transaction: when it fails, this pipeline is ahead of it and must be dropped and resumed.
        """
        settings, step = self.settings, _Step(self.settings, self.state, memory)
        events = with_features(events, settings.entropy, segments=settings.segments, min_coverage=settings.min_coverage)
        step.recall(events)
        for event in events:
            step.take(event)
        step.flush()
        memory.save_state(self.state.changes())
        return step.outputs


@lru_cache(maxsize=4096)
def _fingerprint(context: Context, form: SignalForm) -> str:
    return context.fingerprint(form)


class _Step:
    """One batch on its way through: what was recalled for it, the run not yet flushed, and the outputs."""

    def __init__(self, settings: PipelineSettings, state: State, memory: Memory) -> None:
        self.settings = settings
        self.state = state
        self.memory = memory
        self.outputs: list[Output] = []
        self.rows: dict[str, ResponseRow] = {}
        self.labels: dict[str, list[Label]] = {}
        self.estimates: dict[str, Estimate] = {}
        self.run: list[tuple[Arrival, DomainState]] = []
        self.in_run: set[str] = set()
        self.watched = {name: settings.feature_names.index(name) for name in settings.drift_features}
        self.recalled: set[str] = set()

    def recall(self, events: Iterable[Event]) -> None:
        """Ask memory once for all the responses and labels that these events are about."""
        ids = set()
        for event in events:
            if isinstance(event, Arrival):
                ids.add(event.generation.id)
            elif isinstance(event, Label):
                ids.add(event.response_id)
            elif isinstance(event, Chunk):
                ids.add(event.piece.id)
        self._recall(ids)

    def _recall(self, ids: set[str]) -> None:
        self.recalled |= ids
        self.rows.update(self.memory.responses(ids))
        self.labels.update(self.memory.labels(ids))

    def take(self, event: Event) -> None:
        """Let one event take effect."""
        if isinstance(event, Arrival):
            self._respond(event)
        elif isinstance(event, Chunk):
            self._assemble(event)
        elif isinstance(event, Label):
            self.flush()
            self._label(event)
        elif isinstance(event, Tick):
            self._advance(event.event_time)
        elif isinstance(event, Pause):
            self._speak(self.state.boundary)
        elif isinstance(event, Rejected):
            self._reject(event)

    def _say(self, output: Output) -> None:
        """Put an output after those of everything that came before it."""
        self.flush()
        self.outputs.append(output)

    # --- responses -------------------------------------------------------------------------------------------

    def _respond(self, arrival: Arrival) -> None:
        """Put a complete response into the run; the run ends where its effects must be seen."""
        generation = arrival.generation
        if generation.id in self.rows or generation.id in self.in_run:
            self.state.counters["duplicate_responses"] += 1
            return
        self.state.assembly.replaced(generation.id)
        self._advance(generation.event_time)
        fingerprint = self._context(arrival)
        if fingerprint is None:
            return
        domain = self.state.domain(SeriesKey(self.state.domain_name(generation.domain), fingerprint))
        self.run.append((arrival, domain))
        self.in_run.add(generation.id)
        domain.events_since += 1
        domain.is_changed = True
        labels = self.labels.get(generation.id)
        if labels:
            self.flush()
            self.state.n_pending -= len(labels)
            row = self.rows[generation.id]
            self._time(row, labels)
            self._settle(row, labels)
        if domain.events_since >= self.settings.emit_every_events:
            self.flush()
            self._emit_if_material(domain)

    def _context(self, arrival: Arrival) -> str | None:
        """The fingerprint of the response, its context made when it is new; None when there are too many."""
        generation = arrival.generation
        fingerprint = _fingerprint(generation.context, arrival.form)
        if fingerprint in self.state.contexts:
            return fingerprint
        if len(self.state.contexts) >= self.settings.max_fingerprints:
            detail = f"response of a context beyond the first {self.settings.max_fingerprints} (max_fingerprints)"
            self._reject(Rejected("too_many_contexts", detail, key=generation.id.encode(), event=generation))
            return None
        self.state.contexts[fingerprint] = self._new_context(generation.context.model)
        self.state.touched_contexts.add(fingerprint)
        kind = "refused_context" if arrival.problem == "uninformative" else "new_context"
        said = "its log-probabilities tell nothing" if kind == "refused_context" else "it starts its own state"
        message = f"model {generation.context.model or '(unnamed)'} in a context not seen before: {said}"
        self._alert(kind, "info", generation.domain, fingerprint, "context", message, at=generation.event_time)
        return fingerprint

    def _new_context(self, model: str) -> ContextState:
        """Start from the last context, from a fitted file, or from nothing, as the settings say."""
        contexts, start = list(self.state.contexts.values()), self.settings.fitted
        if self.settings.warm_start and contexts:
            start = contexts[-1].snapshot()
        context = ContextState(self.settings) if start is None else ContextState.restore(self.settings, start)
        context.model, context.number = model, len(contexts)
        return context

    def flush(self) -> None:
        """Predict the run at once, then store it and let windows and detectors see it, in order of arrival."""
        if not self.run:
            return
        run, self.run, self.in_run = self.run, [], set()
        p_correct = self._predict(run)
        rows = [self._row(a, d, p) for (a, d), p in zip(run, p_correct, strict=True)]
        self.memory.add_responses(rows)
        self.rows.update((row.id, row) for row in rows)
        by_domain: dict[int, list[ResponseRow]] = defaultdict(list)
        for (arrival, domain), row in zip(run, rows, strict=True):
            by_domain[id(domain)].append(row)
            self._count(arrival, row)
            self._watch(domain, row, by_domain[id(domain)])
        for domain in {id(d): d for _, d in run}.values():
            domain.window.add(by_domain[id(domain)])

    def _predict(self, run: list[tuple[Arrival, DomainState]]) -> list[float]:
        p_correct = np.full(len(run), np.nan)
        by_context: dict[str, list[int]] = defaultdict(list)
        for i, (arrival, domain) in enumerate(run):
            if arrival.problem is None:
                by_context[domain.series.fingerprint].append(i)
        for fingerprint, members in by_context.items():
            features = np.stack([run[i][0].features for i in members])
            domains = [run[i][1].series.domain for i in members]
            p_correct[members] = self.state.contexts[fingerprint].committee.predict_proba(features, domains)
        return p_correct.tolist()

    def _row(self, arrival: Arrival, domain: DomainState, p_correct: float) -> ResponseRow:
        generation = arrival.generation
        seq, self.state.n_responses = self.state.n_responses, self.state.n_responses + 1
        return ResponseRow(
            seq=seq,
            id=generation.id,
            domain=domain.series.domain,
            fingerprint=domain.series.fingerprint,
            event_time=generation.event_time,
            features=arrival.features,
            p_correct=p_correct,
            classifier_version=self.state.contexts[domain.series.fingerprint].committee.version,
            n_tokens=arrival.n_tokens,
            slices=generation.slices,
            finish_reason=generation.finish_reason,
            text=generation.text,
        )

    def _count(self, arrival: Arrival, row: ResponseRow) -> None:
        counters = self.state.counters
        counters["responses"] += 1
        if arrival.problem:
            counters[f"unusable_{arrival.problem}"] += 1
        for reason, count in arrival.generation.signal.problems.items():
            counters[f"signal_{reason}"] += count
        if self._mark_stale(row):
            counters["late_responses"] += 1
        if self.settings.predictions != "none":
            self._say(_prediction(row, is_final=True))

    # --- responses in pieces ---------------------------------------------------------------------------------

    def _assemble(self, chunk: Chunk) -> None:
        """Add a piece to its response; the last piece makes it an arrival."""
        if chunk.piece.id in self.rows or chunk.piece.id in self.in_run:
            self.state.counters["duplicate_chunks"] += 1
            return
        self.state.counters["chunks"] += 1
        if chunk.is_trailer:
            for response in self.state.assembly.trail(chunk):
                self._complete(response)
            return
        done = self.state.assembly.add(chunk)
        if done.problem:
            self.state.counters[f"signal_{done.problem}"] += 1
        if done.evicted:
            self._let_go(done.evicted, "too_many_in_flight")
        if done.is_complete:
            self._complete(done.response)
        elif self.settings.predictions == "all" and not done.problem:
            self._predict_early(done.response)

    def _complete(self, response: InFlight) -> None:
        if response.head.id not in self.recalled:  # completed by the time, or by another response
            self._recall({response.head.id})
        features = response.accumulator.features(segments=self.settings.segments)
        self._respond(arrive(response.complete(), features, self.settings.min_coverage, response.form))

    def _predict_early(self, response: InFlight) -> None:
        """A response still being generated already has a risk."""
        self.flush()
        head = response.head
        fingerprint = _fingerprint(response.context, response.form)
        context = self.state.contexts.get(fingerprint)
        if context is None:
            return
        features = response.accumulator.features(segments=self.settings.segments)
        p_correct = float(context.committee.predict_proba(features[None], [head.domain])[0])
        known = None if math.isnan(p_correct) else p_correct
        n_tokens, version = response.accumulator.n_tokens, context.committee.version
        self._say(
            Prediction(head.id, head.domain, fingerprint, head.event_time, known, n_tokens, version, is_final=False)
        )

    def _let_go(self, response: InFlight, reason: str) -> None:
        """Nothing more will come of a response: it is complete if its end came, and given up otherwise."""
        if response.has_ended:
            self._complete(response)
            return
        detail = f"response given up after {response.accumulator.n_tokens} tokens: no last chunk came"
        self._reject(Rejected(reason, detail, key=response.head.id.encode()))

    def _reject(self, rejected: Rejected) -> None:
        self.state.counters[f"rejected_{rejected.reason}"] += 1
        self._say(rejected)

    # --- labels ----------------------------------------------------------------------------------------------

    def _label(self, label: Label) -> None:
        """Join a label to its response, or let it wait."""
        known = self.labels.setdefault(label.response_id, [])
        if any(label.label_id == other.label_id for other in known):
            self.state.counters["duplicate_labels"] += 1
            return
        row = self.rows.get(label.response_id)
        if row is None and self.state.n_pending >= self.settings.max_pending_labels:
            detail = f"label for an unknown response while {self.state.n_pending} labels wait (max_pending)"
            self._reject(Rejected("too_many_pending_labels", detail, key=label.label_id.encode(), event=label))
            return
        self.memory.add_labels([label])
        known.append(label)
        self.state.counters["labels"] += 1
        if row is None:
            self.state.n_pending += 1
        else:
            self._time(row, [label])
            self._settle(row, known)

    def _time(self, row: ResponseRow, labels: Iterable[Label]) -> None:
        for label in labels:
            self.state.label_delays.add(label.event_time - row.event_time)

    def _settle(self, row: ResponseRow, labels: Sequence[Label]) -> None:
        """Resolve the labels of a response and, when that changes its truth, let everything know."""
        truth = resolve(labels, self.settings.label_policy)
        correct = math.nan if truth is None else truth.correct
        weight, kind = (1.0, "withdrawn") if truth is None else (self._weight(truth), truth.kind)
        was_labelled, was_counted = not math.isnan(row.correct), bool(row.label_kind)
        if (truth is None and not was_labelled) or (row.correct, row.weight, row.label_kind) == (correct, weight, kind):
            self.state.counters["labels_without_effect"] += 1
            return
        self.state.counters["labels_revised" if was_labelled else "labels_joined"] += 1
        row = replace(row, correct=correct, weight=weight, label_kind=kind)
        self.rows[row.id] = row
        self.memory.resolve([row])
        domain = self.state.domain(row.series)
        domain.window.resolve(row)
        self._mark_stale(row)
        if truth is not None and not np.isnan(row.features).all():
            self._learn(row, truth, is_revision=was_counted)
        if weight > 0 and not was_counted and truth is not None:
            self._watch_labels(domain, row)
        domain.labels_since += 1
        domain.is_changed = True
        if domain.labels_since >= self.settings.emit_every_labels:
            self._emit_if_material(domain)

    def _watch_labels(self, domain: DomainState, row: ResponseRow) -> None:
        """Let the first truth about a response speak for or against the target of its domain."""
        watch = domain.watch
        turn = watch.update(row.correct, row.weight, row.event_time)
        at, name, target = self.state.max_event_time, row.domain, watch.target
        if turn == "raised":
            accuracy = watch.right_since / watch.n_since
            message = f"labels prove accuracy of {name} below {target:.2f}: the last {watch.n_since} are {accuracy:.2f}"
            self._alert(
                "below_target", "alarm", name, row.fingerprint, "accuracy", message,
                at=at, since=watch.since, before=target, after=accuracy,
            )  # fmt: skip
        elif turn == "resolved":
            message = f"labels of {name} no longer speak for an accuracy below {target:.2f}"
            self._alert("back_on_target", "info", name, row.fingerprint, "accuracy", message, at=at)

    def _weight(self, truth: Truth) -> float:
        """1 / inclusion probability; 0 for a label of unknown probability that shall teach but not count."""
        return truth.weight if truth.kind == "designed" or self.settings.count_unknown_labels else 0.0

    def _learn(self, row: ResponseRow, truth: Truth, *, is_revision: bool) -> None:
        """Score the prediction made before the label, then learn from the label."""
        context = self.state.contexts[row.fingerprint]
        self.state.touched_contexts.add(row.fingerprint)
        context.committee.score_and_learn(
            row.features[None],
            np.array([truth.correct]),
            np.array([truth.weight]),
            [row.domain],
            np.array([row.p_correct]),
        )
        if not is_revision and self.settings.detect_drift:
            domain = self.state.domain(row.series)
            changes = domain.drift.update({"accuracy_minus_predicted": truth.correct - row.p_correct})
            self._warn(domain, changes, row, self.state.max_event_time)
        if context.committee.wants_refit():
            context.committee.refit(self._training_rows(row.fingerprint))
        context.labels_since_fit += 1
        if context.wants_fit():
            context.fit_estimator(self._training_rows(row.fingerprint))

    def _training_rows(self, fingerprint: str) -> Rows:
        rows = self.memory.labelled(fingerprint, self.settings.max_training_rows)
        return replace(rows, weight=np.where(rows.weight > 0, rows.weight, 1.0))

    def _mark_stale(self, row: ResponseRow) -> bool:
        """Remember the closed windows this row is part of: they are estimated again at the next boundary."""
        ends = list(self.settings.windows.ends_holding(row.event_time, before=self._last_closed()))
        for end in ends:
            if len(self.state.stale) >= self.settings.max_stale_windows:
                self.state.counters["stale_windows_dropped"] += 1
                break
            self.state.stale[row.series, end] = None
        return bool(ends)

    def _last_closed(self) -> float:
        return self.state.boundary - self.settings.windows.hop_s

    # --- drift -----------------------------------------------------------------------------------------------

    def _watch(self, domain: DomainState, row: ResponseRow, so_far: Sequence[ResponseRow]) -> None:
        """Let the detectors see a row; ``so_far`` are the rows of the run up to it, not yet in the window."""
        if not self.settings.detect_drift:
            return
        values = {name: float(row.features[column]) for name, column in self.watched.items()}
        changes = domain.drift.update({"p_correct": row.p_correct, **values})
        self._warn(domain, self._of_traffic(domain, changes, so_far), row, row.event_time, so_far)

    def _of_traffic(
        self, domain: DomainState, changes: Iterable[Change], so_far: Sequence[ResponseRow]
    ) -> Iterator[Change]:
        """Changes but those of ``p_correct`` that the classifier made: the present one sees them nowhere."""
        for change in changes:
            if change.what != "p_correct":
                yield change
                continue
            features = domain.window.latest(so_far)
            committee = self.state.contexts[domain.series.fingerprint].committee
            p_correct = committee.predict_proba(features, [domain.series.domain] * len(features))
            seen = domain.drift.again(change, p_correct[~np.isnan(p_correct)].tolist())
            if seen is None:
                self.state.counters["classifier_moved"] += 1
            else:
                yield seen

    def _warn(
        self, domain: DomainState, changes: Iterable[Change], row: ResponseRow, at: float,
        so_far: Sequence[ResponseRow] = (),
    ) -> None:  # fmt: skip
        seen = so_far if so_far or len(domain.window) else [row]
        for change in changes:
            since = domain.window.newest(change.n_after, [other.event_time for other in seen])
            kind = "accuracy_gap" if change.what == "accuracy_minus_predicted" else "drift"
            message = f"{change.what} of {row.domain} moved from {change.before:.3f} to {change.after:.3f}"
            self._alert(
                kind, "warning", row.domain, row.fingerprint, change.what, message,
                at=at, since=since, before=change.before, after=change.after,
            )  # fmt: skip

    def _alert(
        self, kind: str, severity: Severity, domain: str, fingerprint: str, what: str, message: str, *,
        at: float, since: float | None = None, before: float | None = None, after: float | None = None,
    ) -> None:  # fmt: skip
        self.state.n_alerts += 1
        self.state.counters["alerts"] += 1
        self._say(
            Alert(
                kind=kind,
                severity=severity,
                domain=domain,
                fingerprint=fingerprint,
                event_time=at,
                since=since,
                what=what,
                before=before,
                after=after,
                message=message,
                number=self.state.n_alerts,
            )
        )

    # --- event time and what it emits ------------------------------------------------------------------------

    def _advance(self, event_time: float) -> None:
        """Move event time on; when it reaches the boundary, close the windows that end there."""
        state = self.state
        if event_time <= state.max_event_time:
            return
        boundary = self.settings.windows.boundary_after(event_time - self.settings.allowed_lateness_s)
        if boundary > state.boundary > -math.inf:
            self.flush()
            state.max_event_time = event_time
            self._close(state.boundary)
            state.boundary = boundary
            for key in sorted(state.domains):
                state.domains[key].window.forget(boundary - self.settings.windows.window_s)
        state.max_event_time = event_time
        state.boundary = max(boundary, state.boundary)
        for response in state.assembly.overdue(event_time):
            self._complete(response)

    def _close(self, boundary: float) -> None:
        """All that happens at a boundary: what there is to say, and what to give up."""
        self._speak(boundary)
        for response in self.state.assembly.expire(self.state.watermark):
            self._let_go(response, "incomplete_response")
        self._expire_labels()

    def _speak(self, boundary: float) -> None:
        """Past windows again where something changed, this window, what to label."""
        self.flush()
        stale, self.state.stale = sorted(self.state.stale), {}
        for series, end in stale:
            said = self._said(estimate_key(series, end))
            self._emit(estimate_past(self.state, self.memory, said, series, end))
        for key in sorted(self.state.domains):
            domain_state = self.state.domains[key]
            if domain_state.is_changed or gone_quiet(domain_state, boundary):
                self._emit_live(domain_state, estimate_live(self.state, domain_state, boundary))
        self._prioritise(boundary)

    def _emit_if_material(self, domain: DomainState) -> None:
        """Say something before the boundary when enough has happened and it makes a difference."""
        estimate = estimate_live(self.state, domain, self.state.boundary)
        domain.events_since = domain.labels_since = 0
        if is_material(domain.last, estimate, self.settings.material_change):
            self._emit_live(domain, estimate)

    def _emit_live(self, domain: DomainState, estimate: Estimate) -> None:
        domain.last = estimate
        domain.is_changed = False
        domain.events_since = domain.labels_since = 0
        self.state.touched_domains.add(domain.series)
        self._emit(estimate)

    def _said(self, key: str) -> Estimate | None:
        """What was last said about a window, in this batch or before."""
        return self.estimates.get(key) or self.memory.estimate(key)

    def _emit(self, estimate: Estimate) -> None:
        self.state.counters["estimates"] += 1
        self.estimates[estimate.key] = estimate
        self._say(estimate)

    def _prioritise(self, boundary: float) -> None:
        newest = [d.last for _, d in sorted(self.state.domains.items()) if d.last and d.last.n_events]
        if newest:
            ranked = acquisition.rank(newest, self.settings.targets, self.settings.default_target)
            self._say(Acquisition(boundary, ranked))

    def _expire_labels(self) -> None:
        """Labels whose response never came leave as dead letters."""
        limit = 1_000
        while self.state.n_pending:
            expired = self.memory.expire_labels(self.state.watermark - self.settings.label_horizon_s, limit)
            self.state.n_pending -= len(expired)
            for label in expired:
                waiting = self.labels.get(label.response_id, [])
                waiting[:] = [other for other in waiting if other.label_id != label.label_id]
                detail = f"no response came within {self.settings.label_horizon_s:.0f} s of event time"
                self._reject(Rejected("unmatched_label", detail, key=label.label_id.encode(), event=label))
            if len(expired) < limit:
                return


def _prediction(row: ResponseRow, *, is_final: bool) -> Prediction:
    p_correct = None if math.isnan(row.p_correct) else row.p_correct
    return Prediction(
        row.id, row.domain, row.fingerprint, row.event_time, p_correct, row.n_tokens, row.classifier_version, is_final
    )
