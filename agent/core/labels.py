"""A label arrives: it is joined to its response, and everything that depends on the truth follows in one place.

Where the agent passes over responses of others, a label that meets no response may be one of theirs. It waits as any
other does, and is then counted instead of rejected.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.emission import Emission
from driftgauge.agent.core.learning import Learning
from driftgauge.agent.core.roster import Roster
from driftgauge.agent.core.watching import Watching
from driftgauge.models.aliases import FIRST_CHOICE
from driftgauge.models.events import Label, Rejected, RejectReason
from driftgauge.models.labels import Truth, contradicts, is_newer, resolve
from driftgauge.models.pending import DESCRIPTIONS, Names, spellings
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import ALL_DOMAINS, SeriesKey
from driftgauge.models.topic_scale import OUT_OF_SCALE

EXPIRED_AT_ONCE = 1_000

WITHDRAWN_AT_ONCE = 10_000
"""Newest labels of a topic that are withdrawn when the topic turns out to have another scale."""


class Labels:
    """Joins labels to responses. A label whose response has not come is *pending*."""

    def __init__(
        self, batch: Batch, roster: Roster, learning: Learning, watching: Watching, emission: Emission
    ) -> None:
        self._batch = batch
        self._roster = roster
        self._learning = learning
        self._watching = watching
        self._emission = emission

    def take(self, label: Label) -> None:
        """Store a new label, or the correction of one; resolve its response, or keep the label pending."""
        batch, state = self._batch, self._batch.state
        if self._is_ahead(label) or not (label.correct is None or self._keeps_to_scale(label, label.correct)):
            return
        row = self._row_of(label.response_id)
        if row is not None and row.id != label.response_id:
            label = replace(label, response_id=row.id)
        known = batch.labels.setdefault(label.response_id, [])
        old = next((other for other in known if other.label_id == label.label_id), None)
        if old == label:
            state.counters["duplicate_labels"] += 1
            return
        is_full = row is None and old is None and state.n_pending >= batch.settings.max_pending_labels
        if is_full and not batch.settings.selection.is_everything:
            self._forget(math.inf, math.ceil(batch.settings.max_pending_labels / 100))
        elif is_full:
            detail = f"label for an unknown response while {state.n_pending} labels wait (max_pending)"
            batch.reject(Rejected("too_many_pending_labels", detail, key=label.label_id.encode(), event=label))
            return
        state.counters["labels"] += 1
        if not self._counts(label, old):
            state.counters["labels_without_effect"] += 1  # it was corrected before it came, or contradicted
            return
        before = tuple(known)
        self._store(label, known, in_place_of=old, is_joined=row is not None)
        if row is not None:
            self._resolve(row, known, before)
            return
        oldest = state.oldest_pending
        state.oldest_pending = label.event_time if oldest is None else min(label.event_time, oldest)
        if old is None:
            state.n_pending += 1
            alias = batch.aliases.get(label.response_id)
            state.counters["labels_ambiguous"] += alias is not None and alias.response_id is None

    def see_out_of_scale(self, topic: str) -> None:
        """Judge a topic after a label outside the scale; the labels accepted before are withdrawn if it is refused."""
        if self._batch.state.scale(topic).see(is_inside=False):
            self._withdraw(topic)

    def join_pending(self, row: ResponseRow, aliases: Iterable[str] = ()) -> None:
        """Resolve a new response whose labels came before it, under its id or under these aliases."""
        labels = self._batch.labels.setdefault(row.id, [])
        self._batch.state.n_pending -= len(labels)
        self._adopt(row, aliases)
        self._resolve(row, labels, before=())

    def join_adopted(self, row: ResponseRow, aliases: Iterable[str]) -> None:
        """Resolve a known response that became known under these aliases too."""
        before = tuple(self._batch.labels.get(row.id, ()))
        if self._adopt(row, aliases):
            self._resolve(row, self._batch.labels[row.id], before)

    def expire(self) -> None:
        """Turn labels whose response never came into dead letters; where they may be those of others, count them."""
        batch, state, horizon_s = self._batch, self._batch.state, self._batch.settings.label_horizon_s
        while state.n_pending:
            expired = self._forget(state.watermark - horizon_s, EXPIRED_AT_ONCE)
            if batch.settings.selection.is_everything:
                self._reject_unmatched(expired)
            if len(expired) < EXPIRED_AT_ONCE:
                break
        state.oldest_pending = batch.memory.oldest_pending() if state.n_pending else None

    def _forget(self, older_than: float, limit: int) -> list[Label]:
        """Remove the oldest pending labels of before this event time; returns them."""
        batch = self._batch
        expired = batch.memory.expire_labels(older_than, limit)
        batch.state.n_pending -= len(expired)
        if expired and not batch.settings.selection.is_everything:
            batch.state.counters["labels_passed_over"] += len(expired)
        for label in expired:
            pending = batch.labels.get(label.response_id, [])
            pending[:] = [other for other in pending if other.label_id != label.label_id]
        return expired

    def _reject_unmatched(self, labels: Sequence[Label]) -> None:
        known, horizon_s = self._names_like(labels), self._batch.settings.label_horizon_s
        for label in labels:
            cause = DESCRIPTIONS[known.cause(label.response_id)[0]]
            detail = f"no response came within {horizon_s:.0f} s of event time; {cause}"
            self._batch.reject(Rejected("unmatched_label", detail, key=label.label_id.encode(), event=label))

    def _names_like(self, labels: Sequence[Label]) -> Names:
        """Ids of stored responses that these labels may have meant."""
        names = {label.response_id for label in labels}
        alike = {spelling for name in names for spelling in spellings(name)}
        aliases = self._batch.memory.aliases(names | alike)
        ids = [*self._batch.memory.responses(alike), *(alias.name for alias in aliases.values() if alias.response_id)]
        return Names(ids, {alias.name for alias in aliases.values() if alias.response_id is None})

    def _is_ahead(self, label: Label) -> bool:
        """Whether the event time of a label cannot be true; the label is then rejected."""
        bound_s = self._batch.settings.max_ahead_s
        if label.broker_time is None or label.event_time <= label.broker_time + bound_s:
            return False
        ahead_s = label.event_time - label.broker_time
        detail = f"{ahead_s:.0f} s ahead of the time of its record; the bound is {bound_s:.0f} (max_ahead_s)"
        self._reject(label, "event_time_ahead", detail)
        return True

    def _keeps_to_scale(self, label: Label, correct: float) -> bool:
        """Whether a label, and the labels of its topic as a whole, keep to the scale; otherwise it is rejected."""
        topic, is_inside = label.topic, 0.0 <= correct <= 1.0
        scale = self._batch.state.scale(topic)
        is_refused_now = scale.see(is_inside=is_inside)
        if is_inside and not scale.is_refused:
            return True
        self._reject_out_of_scale(label)
        if is_refused_now:
            self._withdraw(topic)
        return False

    def _withdraw(self, topic: str) -> None:
        """Withdraw the labels of a topic that turned out to have another scale."""
        batch = self._batch
        message = (
            f"labels of {topic or '(unnamed)'} leave the scale {batch.settings.label_scale}: none of them is used; "
            "configure labels.scale"
        )
        series, at = SeriesKey(ALL_DOMAINS, "", f"topic={topic}"), max(batch.state.watermark, 0.0)
        batch.alert(OUT_OF_SCALE, series, "labels", message, at=at)
        labels = batch.memory.labels_of_topic(topic, WITHDRAWN_AT_ONCE)
        batch.recall_responses([], {label.response_id for label in labels})
        for label in reversed(labels):
            known, row = batch.labels[label.response_id], batch.rows.get(label.response_id)
            before = tuple(known)
            known.remove(label)
            batch.memory.remove_labels([label])
            self._reject_out_of_scale(label)
            if row is None:
                batch.state.n_pending -= 1
            else:
                self._resolve(row, known, before)

    def _counts(self, label: Label, old: Label | None) -> bool:
        """Whether a label event replaces the one with its ``label_id``; of two that contradict, one is rejected."""
        if old is None:
            return True
        counts = is_newer(label, old)
        if contradicts(label, old):
            detail = "an event with the same label_id and event_time has another value: date a correction later"
            self._reject(old if counts else label, "label_conflict", detail)
        return counts

    def _reject_out_of_scale(self, label: Label) -> None:
        detail = f"labels of its topic leave the scale {self._batch.settings.label_scale}: configure labels.scale"
        self._reject(label, OUT_OF_SCALE, detail)

    def _reject(self, label: Label, reason: RejectReason, detail: str) -> None:
        key = label.label_id.encode()
        self._batch.reject(Rejected(reason, detail, topic=label.topic, key=key, event=label))

    def _row_of(self, name: str) -> ResponseRow | None:
        """The response that a label means: by its id, by an alias that is its alone, or as the only choice."""
        rows, alias = self._batch.rows, self._batch.aliases.get(name)
        if name not in rows and alias is not None:
            return None if alias.response_id is None else rows.get(alias.response_id)
        return rows.get(name) or rows.get(name.removesuffix(FIRST_CHOICE))

    def _adopt(self, row: ResponseRow, aliases: Iterable[str]) -> bool:
        """Store the labels that are pending under these aliases under the id of their response; whether any is kept."""
        batch, is_any = self._batch, False
        known = batch.labels.setdefault(row.id, [])
        for pending in [label for alias in aliases for label in batch.labels.pop(alias, ())]:
            batch.state.n_pending -= 1
            batch.memory.remove_labels([pending])
            label = replace(pending, response_id=row.id)
            old = next((other for other in known if other.label_id == label.label_id), None)
            if self._counts(label, old):
                self._store(label, known, in_place_of=old, is_joined=True)
                is_any = True
        return is_any

    def _store(self, label: Label, known: list[Label], *, in_place_of: Label | None, is_joined: bool) -> None:
        """Store a label event. An older event with the same ``label_id`` can never count again, so it is removed."""
        if in_place_of is not None:
            self._batch.memory.remove_labels([in_place_of])
            known.remove(in_place_of)
        self._batch.memory.add_labels([label], are_joined=is_joined)
        known.append(label)

    def _resolve(self, row: ResponseRow, labels: Sequence[Label], before: Sequence[Label]) -> None:
        """All effects of the labels of one response, in order; ``before``: those that it was resolved with last."""
        batch, state = self._batch, self._batch.state
        # 1. label delays, and the agreement of annotators
        for label in labels:
            if label not in before:
                state.label_delays.add(label.event_time - row.event_time)
                self._watching.see_delay(row, label.event_time - row.event_time)
        state.annotator_pairs.replace(before, labels, batch.settings.label_use)
        # 2. one truth from all label events
        truth = resolve(labels, batch.settings.label_policy, batch.settings.label_use)
        labelled = self._labelled(row, truth)
        was_labelled, was_taught = not math.isnan(row.correct), bool(row.label_kind)
        was_counted = was_taught and row.weight > 0
        if (truth is None and not was_labelled) or _label_of(labelled) == _label_of(row):
            state.counters["labels_without_effect"] += 1
            return
        state.counters["labels_revised" if was_labelled else "labels_joined"] += 1
        # 3. the stored row, the window of its domain, and the closed windows that hold it
        batch.rows[row.id] = labelled
        batch.memory.resolve([labelled])
        context = self._roster.context(row.fingerprint)
        if context is None:
            state.counters["labels_without_context"] += 1
            return
        domain = self._roster.domain(row.series)
        domain.window.resolve(labelled)
        batch.mark_stale(labelled)
        # 4. the classifier is scored by this label, then learns from it; the estimator is fitted again when due
        if truth is not None and row.has_features:
            self._learning.score_and_learn(context, labelled, truth, is_revision=was_taught)
        # 5. the gap to the predictions, and the target of the domain: only the first truth that counts is evidence
        if truth is not None and labelled.weight > 0 and not was_counted:
            self._watching.see_gap(domain, labelled)
            self._watching.see_label(domain, labelled)
        # 6. the estimate, before the next boundary if it moved
        domain.labels_since += 1
        domain.is_changed = True
        if row.series in state.domains and domain.labels_since >= batch.settings.emit_every_labels:
            self._emission.emit_if_material(domain)

    @staticmethod
    def _labelled(row: ResponseRow, truth: Truth | None) -> ResponseRow:
        """The row with its truth. Weight 0: the label teaches the classifier but does not count in estimates."""
        if truth is None:
            return msgspec.structs.replace(row, correct=math.nan, weight=1.0, label_kind="withdrawn")
        weight = truth.weight if truth.counts else 0.0
        return msgspec.structs.replace(row, correct=truth.correct, weight=weight, label_kind=truth.kind)


def _label_of(row: ResponseRow) -> tuple[float, float, str]:
    return row.correct, row.weight, row.label_kind
