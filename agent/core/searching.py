"""The search for weak segments: at the end of each period of the label lists, over all live domains together.

Labels of the last `SlicePlan.weak_span_s` seconds prove that a segment is weak, as labels come late. The predictions of
the period only suggest it. A search reads at most `MAX_LABELS` labelled responses and `MAX_RESPONSES` others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.models.acquire.label_lists import seed_of
from driftgauge.models.arrays import Float64s
from driftgauge.models.outputs import Basis, WeakSegment, WeakSegments
from driftgauge.models.probes import is_probe_context
from driftgauge.models.rows import Rows
from driftgauge.models.series import ALL_DOMAINS, SeriesKey
from driftgauge.models.slices.grouping import Indices
from driftgauge.models.slices.scan import Weak, weak_segments
from driftgauge.models.slices.segments import Segments, largest, segments_of

MAX_LABELS = 5_000
"""Labelled responses of a search, the newest ones; contexts share them."""

MAX_RESPONSES = 20_000
"""Responses whose predictions a search reads, the newest ones of the period; domains share them."""

MAX_DOMAINS = 40
"""Series whose predictions are read: those with the most traffic."""

MAX_WORST = 5
"""Responses that a list names for each segment."""

MAX_LISTED = 100
"""Segments of one list, so that its message stays small."""


class Searching:
    """Searches weak segments in what a batch sees."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._plan = batch.settings.slices

    def close(self) -> None:
        """A boundary was closed: search once if periods have ended since the last search."""
        state, settings = self._batch.state, self._batch.settings
        if not self._plan.finds_weak:
            self._end_alerts(set(), state.boundary)
            return
        passed = settings.windows.boundary_after(state.watermark) - settings.windows.hop_s
        period_s = settings.label_plan.period_s
        end = settings.label_plan.end_after(passed) - period_s
        is_first, is_new = state.search_end == -math.inf, end > state.search_end
        state.search_end = max(end, state.search_end)
        if is_new and not is_first:
            self._search(end - period_s, end)

    def _search(self, start: float, end: float) -> None:
        """Search, emit the list, and raise or end the alerts about segments that labels prove.

        There is no list when nothing was compared.
        """
        since = end - self._plan.weak_span_s
        labelled, predicted = largest([*self._labelled(since, end)]), largest([*self._predicted(start, end)])
        proved = self._weak(labelled, end)
        known = {weak.series for weak in proved}
        self._end_alerts(known, end)
        if not labelled and not predicted:
            return
        suggested = [weak for weak in self._weak(predicted, end) if weak.series not in known]
        rows = [
            *_listed(proved, labelled, "labels", 1), *_listed(suggested, predicted, "predictions", len(proved) + 1)
        ][:MAX_LISTED]  # fmt: skip
        self._batch.state.counters["weak_segments"] += len(rows)
        self._batch.emit(
            WeakSegments(
                event_time=end,
                since=since,
                false_alarms=self._plan.weak_false_alarms,
                n_labels=sum(len(group.value) for group in labelled),
                n_segments=sum(len(group.names) for group in labelled),
                n_suggesting=sum(len(group.names) for group in predicted),
                segments=tuple(rows),
            )
        )
        for row in rows:
            if row.basis == "labels":
                self._alert(row, end)

    def _weak(self, groups: Sequence[Segments], end: float) -> list[Weak]:
        plan, seed = self._plan, seed_of(self._batch.settings.seed, SeriesKey(ALL_DOMAINS, ""), end)
        return weak_segments(groups, plan.weak_false_alarms, plan.weak_min_labels, seed)

    def _labelled(self, since: float, end: float) -> Iterator[Segments]:
        """The segments of every domain of the live contexts, with labels that count in estimates."""
        fingerprints = sorted(name for name in self._batch.state.contexts if not is_probe_context(name))
        for fingerprint in fingerprints:
            rows = self._batch.memory.labelled(fingerprint, MAX_LABELS // len(fingerprints))
            used = (rows.event_time >= since) & (rows.event_time < end) & (rows.weight > 0)
            for domain in np.unique(rows.domain[used]):
                at = np.flatnonzero(used & (rows.domain == domain))
                yield self._segments(SeriesKey(str(domain), fingerprint), rows, at, rows.correct, rows.weight)

    def _predicted(self, start: float, end: float) -> Iterator[Segments]:
        """The segments of the busiest live domains, with the predictions of their responses."""
        live = (domain for key, domain in self._batch.state.domains.items() if not is_probe_context(key.fingerprint))
        busiest = sorted(live, key=lambda domain: (-domain.traffic.in_window(end), domain.series))[:MAX_DOMAINS]
        for domain in busiest:
            rows = self._batch.memory.window(domain.series, start, end, MAX_RESPONSES // len(busiest))
            at = np.flatnonzero(~np.isnan(rows.p_correct))
            yield self._segments(domain.series, rows, at, rows.p_correct, np.ones(len(rows)))

    def _segments(self, series: SeriesKey, rows: Rows, at: Indices, value: Float64s, weight: Float64s) -> Segments:
        least = self._plan.weak_min_labels
        return segments_of(series, value[at], weight[at], rows.slices[at].tolist(), least, rows.id[at])

    def _alert(self, row: WeakSegment, end: float) -> None:
        message = f"labels prove {row.slice} of {row.domain} worse than the rest of the domain: {row.why}"
        self._batch.alert(
            "weak_segment", row.series, "accuracy", message,
            at=end, before=row.accuracy_outside, after=row.accuracy, n=row.n, rows=row.worst,
        )  # fmt: skip

    def _end_alerts(self, proved: Set[SeriesKey], at: float) -> None:
        """End the alerts about segments that are not proved any more."""
        alerts = self._batch.state.alerts
        for kind, series in sorted(alerts.open):
            if kind == "weak_segment" and series not in proved:
                self._batch.end_alert(kind, series, "labels no longer prove it", at=at)


def _listed(found: Sequence[Weak], groups: Sequence[Segments], basis: Basis, rank: int) -> Iterator[WeakSegment]:
    what = {"labels": "labels are right", "predictions": "responses are predicted right"}[basis]
    of = {group.series: group for group in groups}
    for number, weak in enumerate(found, start=rank):
        yield WeakSegment(
            rank=number,
            domain=weak.series.domain,
            fingerprint=weak.series.fingerprint,
            slice=weak.series.slice,
            basis=basis,
            accuracy=weak.inside,
            accuracy_outside=weak.outside,
            n=weak.n,
            p_value=weak.p_value,
            worst=of[weak.series._replace(slice="")].worst(weak.series.slice, MAX_WORST),
            why=f"{weak.inside:.0%} of {weak.n} {what}, outside {weak.outside:.0%}",
        )
