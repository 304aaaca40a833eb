"""What is watched in one context as a whole: its traffic mix, the delay of its labels, and domains with few responses.

A domain with few values is watched in a *pool*. The pool compares its values with those that other domains of the
context had at the same age, so thousands of domains with a few responses each are watched together. Bounded: a few
detectors.
"""

from __future__ import annotations

import math

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.watch.drift import Change, DriftMonitor
from driftgauge.models.watch.mix import MixChange, TrafficMix
from driftgauge.models.watch.seasons import HOUR_S

WATCH = SavedFormat("watch of a context")

MIX_EVERY_S = 60.0
"""Of the traffic mix, one response is taken in this time: what comes in a burst is one value."""

DELAY_EVERY_S = HOUR_S
"""Of the labels, one is taken in this time: what was labelled together is one value."""

UNCENSORED = 4.0
"""Mean delays for which labels must have come: before that, only the labels that are fast have come."""


class ContextWatch:
    """The detectors of one context.

    Attributes
    ----------
    pool : watches domains with few responses together
    """

    def __init__(self, settings: PipelineSettings) -> None:
        season, kind = settings.drift_season, settings.drift_detector
        self.pool = DriftMonitor(season=season, kind=kind)
        self._delays = DriftMonitor(season=season, kind=kind)
        self._mix = TrafficMix(season)
        self._started = math.inf
        self._mix_at = self._delay_at = -math.inf
        self._n_delays, self._total_s = 0, 0.0

    def wants_mix(self, event_time: float) -> bool:
        """Whether the domain of a response at this event time is to be taken."""
        return event_time >= self._mix_at + MIX_EVERY_S

    def see_domain(self, domain: str, event_time: float, allowance: float) -> MixChange | None:
        """Take the domain of a response; returns a change of the mix that is detected now."""
        self._started = min(self._started, event_time)
        self._mix_at = event_time
        return self._mix.update(domain, event_time, allowance)

    def wants_delay(self, delay_s: float, event_time: float) -> bool:
        """Count the delay of a label that comes at this event time; returns whether it is to be taken."""
        self._n_delays, self._total_s = self._n_delays + 1, self._total_s + delay_s
        age_s = event_time - self._started
        is_uncensored = age_s >= UNCENSORED * self._total_s / self._n_delays
        return is_uncensored and event_time >= self._delay_at + DELAY_EVERY_S

    def see_delay(self, delay_s: float, event_time: float, allowance: float) -> list[Change]:
        """Take the delay of a label in seconds; returns the changes detected now."""
        self._delay_at = event_time
        return self._delays.update({"label_delay": delay_s}, event_time, allowance)

    def snapshot(self) -> bytes:
        """State as bytes; `restore` takes it."""
        times = [self._started, self._mix_at, self._delay_at, self._n_delays, self._total_s]
        return WATCH.pack([times, self.pool.snapshot(), self._delays.snapshot(), self._mix.snapshot()])

    @classmethod
    def restore(cls, settings: PipelineSettings, blob: bytes) -> ContextWatch:
        """Make the watch that gave this snapshot; detectors of other settings start without values."""
        state = cls(settings)
        times, pool, delays, mix = WATCH.unpack(blob)
        state._started, state._mix_at, state._delay_at, state._n_delays, state._total_s = times
        state.pool.restore(pool)
        state._delays.restore(delays)
        state._mix.restore(mix)
        return state


def watch_name(fingerprint: str) -> str:
    """The name that the store knows the watch of a context by."""
    return f"watch/{fingerprint}"
