"""When estimates, data lists and label lists are emitted: at boundaries; estimates also when they moved.

At a boundary with many domains, some estimates are emitted at once and the others with the events that follow, so that
no batch takes long. When the next boundary comes first, the rest is emitted there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.data_list import data_list
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.estimate_watch import watch_estimate
from driftgauge.agent.core.estimating import estimate_live, estimate_past, estimate_slices
from driftgauge.agent.core.listing import Listing
from driftgauge.agent.core.roster import Roster
from driftgauge.agent.core.searching import Searching
from driftgauge.agent.core.state import Closing
from driftgauge.models.outputs import Acquisition, Estimate
from driftgauge.models.windows import Window

_SLICED = 5  # windows without slices that take as long as one with slices


class Emission:
    """Emits what the windows of a batch give."""

    def __init__(self, batch: Batch, roster: Roster) -> None:
        self._batch = batch
        self._roster = roster
        self._listing = Listing(batch, roster)
        self._searching = Searching(batch)

    def close(self, boundary: float) -> None:
        """Begin to emit the windows that end at this boundary, after the rest of those of the boundary before."""
        self._close_domains(math.inf)
        self._batch.close_marked(boundary)
        self.make_stale_due()
        self._batch.state.closing = Closing(boundary)
        self.go_on()

    def end_periods(self) -> None:
        """Begin to draw label lists of periods that have ended, unless estimates come first."""
        if self._batch.state.closing is None:
            self._listing.close(self._batch.state.boundary)
            self._searching.close()

    def emit_early(self) -> None:
        """Begin to emit the open windows that changed; where estimates are due already, emit some of those instead."""
        if self._batch.state.closing is None:
            self.close(self._batch.state.boundary)
        else:
            self.go_on()

    def go_on(self) -> None:
        """Emit some of what is due: estimates of closed windows that changed, those of live domains, label lists."""
        self._emit_stale()
        self._close_domains(self._batch.settings.windows_at_once)
        self._listing.go_on(self._batch.settings.windows_at_once)

    def _close_domains(self, limit: float) -> None:
        """Emit the windows of at most ``limit`` live domains, in order; after the last one, the data list."""
        state = self._batch.state
        if state.closing is None:
            return
        boundary, last = state.closing
        for series in sorted(series for series in state.domains if last is None or series > last):
            if limit <= 0:
                return
            limit -= self._close_domain(state.domains[series], boundary)
            state.closing = Closing(boundary, series)
            state.domains[series].window.forget(state.boundary - self._batch.settings.windows.window_s)
        state.closing = None
        if boundary > -math.inf:  # else a pause before the first response
            self._emit_data_list(boundary)
            self._listing.close(boundary)
            self._searching.close()

    def _close_domain(self, domain: DomainState, boundary: float) -> int:
        """Emit the window of a domain if it is due; returns the number of estimates, those of slices included."""
        state, window_s = self._batch.state, self._batch.settings.windows.window_s
        if self._is_due(domain, boundary):
            return self._emit_live(domain, estimate_live(state, self._batch.memory, domain, boundary))
        if domain.is_changed and not domain.window.has_rows(boundary - window_s, math.inf):
            domain.is_changed = False  # its responses were all late: they belong to past windows
            state.touched_domains.add(domain.series)
        return 0

    def make_stale_due(self) -> None:
        """Let the windows marked so far be estimated again.

        They were waiting until now, so that a window is estimated once for all events between two boundaries.
        """
        self._batch.save_stale()
        self._batch.state.n_due = self._batch.state.n_stale

    def _emit_stale(self) -> None:
        """Emit closed windows that changed and are due: ``windows_at_once`` of them, the oldest marks first.

        With slices a window takes some times as long, and fewer are taken.
        """
        batch, state = self._batch, self._batch.state
        batch.save_stale()
        n_at_once = batch.settings.windows_at_once
        if batch.settings.slices.combinations:
            n_at_once = max(n_at_once // _SLICED, 1)
        taken = batch.memory.take_stale(min(state.n_due, n_at_once))
        state.n_stale, state.n_due = state.n_stale - len(taken), state.n_due - len(taken)
        state.corrected_at = state.event_time
        for series, marks in groupby(taken, key=lambda mark: mark.series):
            ends, context = [mark.end for mark in marks], self._roster.context(series.fingerprint)
            estimates = (
                [] if context is None
                else estimate_past(state, batch.memory, context, batch.newest_estimate, series, ends)
            )  # fmt: skip
            state.counters["stale_windows_expired"] += len(ends) - len(estimates)
            for estimate in estimates:
                self._emit_past(estimate)

    def emit_if_material(self, domain: DomainState) -> None:
        """Emit the estimate of a domain before the boundary if it differs from the last one by enough to matter."""
        if (end := self._batch.state.open_end(domain.series)) < self._batch.state.boundary:
            self._close_domain(domain, end)
        estimate = estimate_live(self._batch.state, self._batch.memory, domain, self._batch.state.boundary)
        domain.events_since = domain.labels_since = 0
        if domain.last_estimate is None and not self._has_rows(domain, self._batch.state.boundary):
            return
        if _is_material(domain.last_estimate, estimate, self._batch.settings.material_change):
            self._emit_live(domain, estimate)

    def _is_due(self, domain: DomainState, boundary: float) -> bool:
        """Whether the estimate of a domain over the window that ends at this boundary is to be emitted."""
        if domain.last_estimate is None and not self._has_rows(domain, boundary):
            return False  # its responses all belong to other windows
        if domain.last_estimate is not None and domain.last_estimate.window_end > boundary:
            return False  # emitted for this boundary, and for the next one
        is_changed = domain.is_changed or domain.has_rows_after_estimate(boundary)
        return is_changed or _has_fallen_silent(domain, boundary)

    def _has_rows(self, domain: DomainState, boundary: float) -> bool:
        start = boundary - self._batch.settings.windows.window_s
        if domain.window.covers(boundary):
            span = domain.window.span(boundary)
            return bool(span.stop > span.start)
        return len(self._batch.memory.window(domain.series, start, boundary, 1)) > 0

    def _emit_past(self, estimate: Estimate) -> None:
        """Emit the estimate of a past window; the next estimate of a live domain for the same window follows it."""
        state, domain = self._batch.state, self._batch.state.domains.get(estimate.series)
        last = None if domain is None else domain.last_estimate
        newest_end = -math.inf if last is None else last.window_end
        may_be_last = estimate.window_end == newest_end or estimate.window_end >= state.open_end(estimate.series)
        if domain is not None and may_be_last and estimate.window_end >= newest_end:
            domain.last_estimate = estimate
            state.touched_domains.add(estimate.series)
        self._emit(estimate, None)

    def _emit_live(self, domain: DomainState, estimate: Estimate) -> int:
        domain.last_estimate = estimate
        domain.is_changed = False
        domain.events_since = domain.labels_since = 0
        self._batch.state.touched_domains.add(domain.series)
        n_emitted = self._emit(estimate, domain.window)
        watch_estimate(self._batch, domain, estimate)
        return n_emitted

    def _emit(self, estimate: Estimate, buffer: Window | None) -> int:
        """Emit an estimate and those of its slices; returns how many they are."""
        self._batch.state.counters["estimates"] += 1
        self._batch.estimates[estimate.key] = estimate
        self._batch.emit(estimate)
        if self._batch.settings.slices.combinations and estimate.n_events:
            return 1 + self._emit_slices(estimate, buffer)
        return 1

    def _emit_slices(self, estimate: Estimate, buffer: Window | None) -> int:
        """Emit the estimates of the slices of a window, with the revision of the window's own estimate."""
        state, context = self._batch.state, self._roster.context(estimate.fingerprint)
        slices = None if context is None else estimate_slices(state, self._batch.memory, context, buffer, estimate)
        if slices is None:
            return 0
        state.counters["slice_estimates"] += len(slices.slices)
        state.counters["slices_left_out"] += slices.n_left_out
        self._batch.emit(slices)
        return len(slices.slices)

    def _emit_data_list(self, boundary: float) -> None:
        made = Acquisition(boundary, data_list(self._batch, boundary))
        if not made.priorities:
            return
        if previous := self._batch.newest_acquisition(made.key):  # emitted early, at a pause
            if previous.priorities == made.priorities:
                return
            made = replace(made, revision=previous.revision + 1)
        self._batch.acquisitions[made.key] = made
        self._batch.emit(made)


def _is_material(last: Estimate | None, new: Estimate, change: float) -> bool:
    """Whether the status changed, or the accuracy by more than ``change``."""
    if last is None or last.status != new.status:
        return True
    if last.accuracy is None or new.accuracy is None:
        return False
    return abs(last.accuracy - new.accuracy) > change


def _has_fallen_silent(domain: DomainState, boundary: float) -> bool:
    """Whether a domain that had an estimate has no response in the window that ends at this boundary."""
    if domain.last_estimate is None or domain.last_estimate.status == "no_data":
        return False
    span = domain.window.span(boundary)
    return bool(span.start >= span.stop)
