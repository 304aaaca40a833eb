"""State of one domain in one context: its window, its detectors, and its newest estimate."""

from __future__ import annotations

import math
from typing import Any

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.series import SeriesKey
from driftgauge.models.watch.accuracy_watch import AccuracyWatch
from driftgauge.models.watch.drift import DriftMonitor
from driftgauge.models.watch.sequential import budget
from driftgauge.models.windows import Window


def _without_detectors(saved: list[Any]) -> list[Any]:
    """Format 1 held the state of drift detectors as private bytes of a library: they start anew."""
    identity, since, last_key, _, watch = saved
    return [identity, since, last_key, {}, watch]


DOMAIN = SavedFormat("domain", (_without_detectors,), since="0.2.0")


class DomainState:
    """One domain in one context: its window, its detectors, and its newest estimate.

    ``rank`` numbers the domains of all contexts in order of arrival, from 1; it decides the part of the false-alarm
    budget.
    """

    def __init__(self, settings: PipelineSettings, series: SeriesKey, rank: int) -> None:
        self.series, self.rank = series, rank
        self.window = Window(settings.windows, len(settings.feature_names))
        self.drift = DriftMonitor(delta=settings.drift_delta)
        target = settings.targets.get(series.domain, settings.default_target)
        self.watch = AccuracyWatch(target, budget(settings.false_alarms, rank), settings.confidence_level)
        self.events_since = 0  # since the estimate was last compared with the emitted one
        self.labels_since = 0
        self.is_changed = False  # since the last estimate
        self.last_estimate: Estimate | None = None

    def has_rows_after_estimate(self, before: float) -> bool:
        """Whether a response lies between the window of the last estimate and this event time."""
        last = self.last_estimate
        return last is not None and last.window_end < before and self.window.has_rows(last.window_end, before)

    def snapshot(self) -> bytes:
        """State as bytes; the window and the last estimate are read from the store again."""
        last_key = None if self.last_estimate is None else self.last_estimate.key
        identity = [self.series.domain, self.series.fingerprint, self.rank]
        since = [self.events_since, self.labels_since, self.is_changed]
        return DOMAIN.pack([identity, since, last_key, self.drift.snapshot(), self.watch.snapshot()])

    @classmethod
    def restore(cls, settings: PipelineSettings, blob: bytes, boundary: float, memory: Memory) -> DomainState:
        """Make the state that gave this snapshot, reading its window and last estimate back from memory."""
        (domain, fingerprint, rank), since, last_key, drift, watch = DOMAIN.unpack(blob)
        state = cls(settings, SeriesKey(domain, fingerprint), rank)
        state.events_since, state.labels_since, state.is_changed = since
        state.drift.restore(drift)
        state.watch.restore(watch)
        state.last_estimate = memory.estimate(last_key) if last_key else None
        start = boundary - settings.windows.window_s
        state.window.load(memory.window(state.series, start, math.inf, state.window.capacity + 1))
        return state
