"""Watches domains and contexts: drift of signals, traffic, labels against predictions, accuracy against its target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.traffic_watch import TrafficWatch
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import ALL_DOMAINS, SeriesKey
from driftgauge.models.watch.drift import Change, by_size
from driftgauge.models.watch.moved_slices import moved_most
from driftgauge.models.watch.ranks import N_FIRST

MAX_ROWS = 5
"""Responses that an alert names."""

MAX_SLICED = 1_000
"""Newest responses of a domain in which the slices that moved are looked for."""


class Watching:
    """Passes values to the change detectors of a domain and turns what they find into alerts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._traffic = TrafficWatch(batch)
        names = batch.settings.features.names
        self._columns = {name: names.index(name) for name in batch.settings.drift_features}

    def see_arrival(self, domain: DomainState, *, is_first: bool) -> float:
        """Take the domain of a response that arrives now, maybe its first; returns the allowance of its values."""
        state = self._batch.state
        if not self._batch.settings.detect_drift or state.event_time == -math.inf:
            return 0.0
        self._traffic.see(domain, is_first=is_first)
        return state.allowances["responses"].take(state.event_time)

    def see_response(
        self, domain: DomainState, row: ResponseRow, coverage: float, allowance: float, so_far: Sequence[ResponseRow]
    ) -> None:
        """Update the detectors of signals; ``so_far`` are the rows of the run up to this one, not yet in the window."""
        if not self._batch.settings.detect_drift:
            return
        values: dict[str, float] = {name: row.features.item(column) for name, column in self._columns.items()}
        values |= {"n_tokens": float(row.n_tokens or math.nan), "coverage": coverage}
        if domain.drift.n_young < N_FIRST:
            self._pool(row, values, allowance)
        found = domain.drift.update({"p_correct": row.p_correct, **values}, row.event_time, allowance)
        changes = list(self._of_traffic(domain, found, so_far)) if found else []
        if changes:
            changes += self._of_traffic(domain, domain.drift.take_moved(), so_far)
            rows = domain.window.newest_ids(MAX_ROWS, so_far)
            slices = self._moved_slices(domain, changes, so_far)
            self._warn(row.series, row.domain, changes, row.event_time, rows, slices)

    def see_gap(self, domain: DomainState, row: ResponseRow) -> None:
        """Update the detector of the gap between labels and predictions."""
        if not self._batch.settings.detect_drift:
            return
        now = self._batch.state.event_time
        allowance = self._batch.state.allowances["labels"].take(now)
        change = domain.drift.update_gap(row.correct, row.p_correct, row.event_time, allowance)
        if change is not None:
            message = f"labels of {row.domain} differ from the predictions by {change.after:+.3f} on average"
            self._alert("accuracy_gap", row.series, change, message, now, [row.id])

    def see_delay(self, row: ResponseRow, delay_s: float) -> None:
        """Update the detector of the delay of labels in a live context; a label before its response has no delay."""
        batch, state = self._batch, self._batch.state
        if not batch.settings.detect_drift or row.fingerprint not in state.contexts:
            return
        now, delay_s = state.event_time, max(delay_s, 0.0)
        watch = state.watch(row.fingerprint)
        if not watch.wants_delay(delay_s, now):
            return
        for change in watch.see_delay(delay_s, now, state.allowances["label_delays"].take(now)):
            model = state.contexts[row.fingerprint].model or "(unnamed)"
            after, before = _hours(change.after), _hours(change.before)
            message = f"labels of model {model} come {after} h after their responses, not {before}"
            self._alert("label_delay", SeriesKey(ALL_DOMAINS, row.fingerprint), change, message, now, [row.id])

    def see_label(self, domain: DomainState, row: ResponseRow) -> None:
        """Count the first truth about a response as evidence for or against the target of its domain."""
        watch, name = domain.watch, row.domain
        smallest = self._batch.settings.smallest_inclusion_probability
        if smallest is not None and row.weight * smallest > 1 + 1e-9:
            self._batch.state.counters["labels_below_smallest_probability"] += 1
        turn = watch.update(row.correct, row.weight, row.event_time)
        at, target = self._batch.state.event_time, watch.target
        if turn == "resolved":
            reason = f"labels are no longer evidence for an accuracy below {target:.2f}"
            self._batch.end_alert("below_target", row.series, reason, at=at)
        elif watch.is_raised and watch.n_since:
            accuracy = watch.right_since / watch.n_since
            message = f"labels prove accuracy of {name} below {target:.2f}: the last {watch.n_since} are {accuracy:.2f}"
            self._batch.alert(
                "below_target", row.series, "accuracy", message,
                at=at, since=watch.since, before=target, after=accuracy, n=watch.n_since, rows=[row.id],
            )  # fmt: skip

    def _pool(self, row: ResponseRow, values: dict[str, float], allowance: float) -> None:
        """Update the detectors that domains with few responses share."""
        pool = self._batch.state.watch(row.fingerprint).pool
        found = pool.update(values, row.event_time, allowance)
        if found:
            series = SeriesKey(ALL_DOMAINS, row.fingerprint)
            self._warn(series, "domains with few responses", [*found, *pool.take_moved()], row.event_time, [row.id])

    def _of_traffic(
        self, domain: DomainState, changes: Iterable[Change], so_far: Sequence[ResponseRow]
    ) -> Iterator[Change]:
        """Changes of the traffic, without those of ``p_correct`` that only learning caused.

        The present classifier predicts the responses of the window again. Its predictions show a change of the traffic
        too.
        """
        for change in changes:
            if change.what != "p_correct":
                yield change
                continue
            committee = self._batch.state.contexts[domain.series.fingerprint].committee
            features = domain.window.latest(so_far)
            p_correct = committee.predict_proba(features, domain.series.domain, may_be_seen=True)
            confirmed = domain.drift.confirm(change, p_correct[~np.isnan(p_correct)].tolist())
            if confirmed is None:
                self._batch.state.counters["classifier_moved"] += 1
            else:
                yield confirmed

    def _moved_slices(
        self, domain: DomainState, changes: Sequence[Change], so_far: Sequence[ResponseRow]
    ) -> Sequence[str]:
        """The slices in which the signal that moved furthest moved further than in the rest of the domain."""
        furthest = next((change for change in by_size(changes) if change.what != "coverage"), None)
        if furthest is None:
            return ()
        ids = domain.window.newest_ids(min(MAX_SLICED, domain.window.spec.window_events), so_far)
        stored = self._batch.memory.responses(ids)
        found = [stored[name] for name in ids]
        column = self._columns.get(furthest.what)
        values = [getattr(row, furthest.what) if column is None else float(row.features[column]) for row in found]
        is_after = np.array([row.event_time >= furthest.since for row in found])
        return moved_most(np.array(values, dtype=float), is_after, [row.slices for row in found])

    def _warn(
        self, series: SeriesKey, name: str, changes: Sequence[Change], at: float, rows: Sequence[str],
        slices: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """One alert for all signals that moved, the furthest first; what lacks log-probabilities is another matter."""
        coverage = [change for change in changes if change.what == "coverage"]
        moved = by_size(change for change in changes if change.what != "coverage")
        if coverage:
            change = coverage[0]
            message = f"tokens of {name} with log-probabilities moved from {change.before:.1%} to {change.after:.1%}"
            self._alert("coverage", series, change, message, at, rows)
        if moved:
            first, *others = moved
            message = f"{_moved(first, f' of {name} moved')}" + "".join(f", {_moved(other)}" for other in others)
            message += f", most in {' and '.join(slices)}" if slices else ""
            first = replace(first, since=min(change.since for change in moved))
            self._alert("drift", series, first, message, at, rows)

    def _alert(
        self, kind: str, series: SeriesKey, change: Change, message: str, at: float, rows: Sequence[str]
    ) -> None:
        self._batch.alert(
            kind, series, change.what, message,
            at=at, since=change.since, before=change.before, after=change.after, n=change.n_after, rows=rows,
        )  # fmt: skip


def _moved(change: Change, verb: str = "") -> str:
    size = f" ({change.size:+.1f} standard deviations)" if change.size else ""
    return f"{change.what}{verb} from {change.before:.3f} to {change.after:.3f}{size}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3_600:.2g}"
