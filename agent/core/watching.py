"""Watches domains: drift of signals, the gap between labels and predictions, and accuracy against its target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.models.rows import ResponseRow
from driftgauge.models.watch.drift import GAP, Change, described

MAX_ROWS = 5
"""Responses that an alert names."""


class Watching:
    """Passes values to the change detectors of a domain and turns what they find into alerts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        names = batch.settings.features.names
        self._columns = {name: names.index(name) for name in batch.settings.drift_features}

    def see_response(self, domain: DomainState, row: ResponseRow, so_far: Sequence[ResponseRow]) -> None:
        """Update the detectors of signals; ``so_far`` are the rows of the run up to this one, not yet in the window."""
        if not self._batch.settings.detect_drift:
            return
        values = {name: float(row.features[column]) for name, column in self._columns.items()}
        changes = domain.drift.update({"p_correct": row.p_correct, **values}, row.event_time)
        self._warn(domain, self._of_traffic(domain, changes, so_far), row, row.event_time, so_far)

    def see_gap(self, domain: DomainState, row: ResponseRow) -> None:
        """Update the detector of the gap between labels and predictions."""
        if not self._batch.settings.detect_drift:
            return
        change = domain.drift.update_gap(row.correct, row.p_correct)
        if change is not None:
            self._warn(domain, [change], row, self._batch.state.event_time)

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

    def _of_traffic(
        self, domain: DomainState, changes: Iterable[Change], so_far: Sequence[ResponseRow]
    ) -> Iterator[Change]:
        """Changes of the traffic in units of the signals, without those of ``p_correct`` that only learning caused.

        The present classifier predicts the responses of the window again. Its predictions show a change of the traffic
        too.
        """
        for change in changes:
            features = domain.window.latest(so_far)
            if change.what != "p_correct":
                yield described(change, features[:, self._columns[change.what]].astype(np.float64))
                continue
            committee = self._batch.state.contexts[domain.series.fingerprint].committee
            p_correct = committee.predict_proba(features, domain.series.domain, may_be_seen=True)
            confirmed = domain.drift.confirm(change, p_correct[~np.isnan(p_correct)].tolist())
            if confirmed is None:
                self._batch.state.counters["classifier_moved"] += 1
            else:
                yield described(confirmed, p_correct)

    def _warn(
        self, domain: DomainState, changes: Iterable[Change], row: ResponseRow, at: float,
        so_far: Sequence[ResponseRow] = (),
    ) -> None:  # fmt: skip
        newest = so_far if so_far or len(domain.window) else [row]
        for change in changes:
            since = domain.window.newest(change.n_after, [other.event_time for other in newest])
            kind = "accuracy_gap" if change.what == GAP else "drift"
            message = f"{change.what} of {row.domain} moved from {change.before:.3f} to {change.after:.3f}"
            self._batch.alert(
                kind, row.series, change.what, message,
                at=at, since=since, before=change.before, after=change.after, n=change.n_after,
                rows=domain.window.newest_ids(MAX_ROWS, newest),
            )  # fmt: skip
