"""State of one domain in one context: its window, its detectors, and its newest estimate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.series import SeriesKey
from driftgauge.models.traffic import Traffic
from driftgauge.models.watch.accuracy_watch import AccuracyWatch
from driftgauge.models.watch.drift import DriftMonitor
from driftgauge.models.watch.sequential import budget
from driftgauge.models.windows import Window


def _without_detectors(saved: list[Any]) -> list[Any]:
    """Format 1 held the state of drift detectors as private bytes of a library: they start without values."""
    identity, since, last_key, _, watch = saved
    return [identity, since, last_key, {}, watch, [-1, -math.inf]]


def _with_ranks(saved: list[Any]) -> list[Any]:
    """Format 2 had detectors of another kind, which start without values, and no counts of the traffic."""
    identity, since, last_key, _, watch, last = saved
    return [identity, since, last_key, DriftMonitor().snapshot(), watch, last, [0.0, []]]


def _with_first_boundary(saved: list[Any]) -> list[Any]:
    """Format 3 did not say when a domain was first seen; it counts as long ago."""
    *before, last, traffic = saved
    return [*before, [*last, -math.inf], traffic]


def _with_cells(saved: list[Any]) -> list[Any]:
    """Format 4 had detectors without allowances and cells, which start without values, and not the hour."""
    identity, since, last_key, _, watch, seen, traffic = saved
    return [identity, since, last_key, DriftMonitor().snapshot(), watch, [*seen, -math.inf], traffic]


_STEPS = (_without_detectors, _with_ranks, _with_first_boundary, _with_cells)
DOMAIN = SavedFormat("domain", _STEPS, since="0.2.0")


class DomainState:
    """One domain in one context: its window, its detectors, and its newest estimate.

    Attributes
    ----------
    rank : numbers the domains of all contexts in order of arrival, from 1; it decides the part of the false-alarm
        budget
    first_boundary : the open boundary when it was first seen; -inf: before that was noted
    last_response : number of its last response among all responses; -1: unknown
    last_boundary : the open boundary when that response came
    hour : number of the hour of event time in which its last response came
    last_key : key of the newest estimate while it is not in memory
    """

    def __init__(self, settings: PipelineSettings, series: SeriesKey, rank: int) -> None:
        self.series, self.rank = series, rank
        self.window = Window(settings.windows, settings.features.width)
        self.traffic = Traffic(settings.windows)
        self.drift = DriftMonitor(season=settings.drift_season, kind=settings.drift_detector)
        target = settings.targets.get(series.domain, settings.default_target)
        self.watch = AccuracyWatch(
            target,
            budget(settings.false_alarms, rank),
            settings.confidence_level,
            settings.smallest_inclusion_probability,
        )
        self.events_since = 0  # since the estimate was last compared with the emitted one
        self.labels_since = 0
        self.is_changed = False  # since the last estimate
        self.last_estimate: Estimate | None = None
        self.last_key: str | None = None
        self.first_boundary = -math.inf
        self.last_response = -1
        self.last_boundary = -math.inf
        self.hour = -math.inf

    def has_rows_after_estimate(self, before: float) -> bool:
        """Whether a response lies between the window of the last estimate and this event time."""
        last = self.last_estimate
        return last is not None and last.window_end < before and self.window.has_rows(last.window_end, before)

    def snapshot(self) -> bytes:
        """State as bytes; the window and the last estimate are read from the store again."""
        last_key = self.last_key if self.last_estimate is None else self.last_estimate.key
        identity = [self.series.domain, self.series.fingerprint, self.rank]
        since = [self.events_since, self.labels_since, self.is_changed]
        seen = [self.last_response, self.last_boundary, self.first_boundary, self.hour]
        traffic = [self.traffic.part_s, sorted(self.traffic.counts.items())]
        return DOMAIN.pack([identity, since, last_key, self.drift.snapshot(), self.watch.snapshot(), seen, traffic])

    @classmethod
    def restore(cls, settings: PipelineSettings, blob: bytes) -> DomainState:
        """Make the state that gave this snapshot; `rebuild` adds its window and last estimate."""
        (domain, fingerprint, rank), since, last_key, drift, watch, seen, traffic = DOMAIN.unpack(blob)
        state = cls(settings, SeriesKey(domain, fingerprint), rank)
        state.last_key = last_key
        state.last_response, state.last_boundary, state.first_boundary, state.hour = seen
        state.events_since, state.labels_since, state.is_changed = since
        state.drift.restore(drift)
        state.watch.restore(watch)
        part_s, counts = traffic
        if part_s == state.traffic.part_s:
            state.traffic.counts = dict(counts)
        return state

    def rebuild(self, boundary: float, memory: Memory, estimate: Callable[[str], Estimate | None]) -> None:
        """Read the window from memory, and the newest estimate by its key."""
        self.last_estimate = estimate(self.last_key) if self.last_key else None
        start = boundary - self.window.spec.window_s
        self.window.load(memory.window(self.series, start, math.inf, self.window.capacity + 1))
        if not self.traffic.counts:  # none were saved, or those of other settings of windows
            for event_time in self.window.times:
                self.traffic.add(event_time, boundary)

    def leave(self) -> None:
        """Drop what `rebuild` reads again."""
        self.last_key = None if self.last_estimate is None else self.last_estimate.key
        self.last_estimate = None
        self.window = Window(self.window.spec, self.window.features.shape[1])


def domain_name(series: SeriesKey) -> str:
    """The name that the store knows a domain in a context by."""
    return f"domain/{series.fingerprint}/{series.domain}"
