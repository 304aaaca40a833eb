"""Drift of the signals of one domain: changes of the responses, and of the gap between labels and predictions.

Owns one change detector for each watched signal. Drift that is found without labels is a warning only: it shows that
the traffic changed, not that accuracy fell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.catalogue import new_mean_change_detector
from driftgauge.models.watch.detector import DetectorSettings, MeanChange, MeanChangeDetector
from driftgauge.models.watch.off_centre import OffCentre

GAP = "accuracy_minus_predicted"
_CONFIRM = DetectorSettings(delta=1e-4, season_hours=1)
"""Of the search for a change in other values of one window: it only confirms what was detected."""


@dataclass(frozen=True, slots=True)
class Change(MeanChange):
    """A change of the mean of one signal; ``what`` is the name of the signal."""

    what: str


class DriftMonitor:
    """Watches named signals of one domain, one value at a time.

    A signal gets its detector with its first value.

    Parameters
    ----------
    delta : expected false warnings about one signal that does not change, per value
    season_hours : hours after which the traffic repeats its pattern, see `RunningRanks`
    kind : a kind of detector that finds a change of mean, by its name in `catalogue.DETECTORS`

    Examples
    --------
    >>> monitor = DriftMonitor()
    >>> [c.what for i in range(2000) for c in monitor.update({"entropy_sum": 9.0 if i < 1000 else 40.0}, float(i))][:1]
    ['entropy_sum']
    """

    def __init__(self, *, delta: float = 1e-6, season_hours: int = 24, kind: str = "rank_shift") -> None:
        self.settings = DetectorSettings(delta, season_hours)
        self.kind = kind
        self._detectors: dict[str, MeanChangeDetector] = {}
        self._gap = OffCentre(1 / delta)

    def update(self, values: Mapping[str, float], event_time: float) -> list[Change]:
        """Take at most one value of each signal, NaN where it is missing; returns the changes now detected.

        `described` gives their means in the units of the signal.
        """
        changes = []
        for name, value in values.items():
            if value != value:
                continue
            if name not in self._detectors:
                self._detectors[name] = self._new(self.settings)
            detector = self._detectors[name]
            if detector.update(value, event_time) and (found := detector.change):
                changes.append(Change(found.before, found.after, found.n_after, found.n_seen, name))
        return changes

    def update_gap(self, truth: float, predicted: float) -> Change | None:
        """Take the truth about a response, in [0, 1], and its prediction; returns a gap of their means.

        Predictions that are right on average have none. ``before`` is 0, ``after`` the mean of truth - prediction.
        """
        if predicted != predicted or not self._gap.update((1 + truth - predicted) / 2):
            return None
        (n_after, mean), n_seen = self._gap.since, self._gap.n
        self._gap.restart()
        return Change(0.0, 2 * mean - 1, n_after, n_seen, GAP)

    def confirm(self, change: Change, values: Sequence[float]) -> Change | None:
        """Search other values of the same responses for a change.

        Parameters
        ----------
        change : a change of the signal that `update` returned
        values : another version of the signal, such as ``p_correct`` by the present classifier, oldest first

        Returns
        -------
        The first change that a new detector finds in the latest ``change.n_seen`` values; None when it finds none.
        """
        detector, latest = self._new(_CONFIRM), values[-change.n_seen :]
        for i, value in enumerate(latest, start=1):
            if detector.update(value) and (found := detector.change):
                n_after = found.n_after + len(latest) - i
                return Change(found.before, found.after, n_after, len(latest), change.what)
        return None

    def _new(self, settings: DetectorSettings) -> MeanChangeDetector:
        return new_mean_change_detector(self.kind, settings)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values: that of every detector, by the name of its signal."""
        detectors = {name: detector.snapshot() for name, detector in self._detectors.items()}
        return {"kind": self.kind, "signals": detectors, "gap": self._gap.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> DriftMonitor:
        """Continue from a snapshot, or without values when that was of another kind; returns self."""
        if state["kind"] == self.kind:
            self._detectors = {name: self._new(self.settings).restore(of) for name, of in state["signals"].items()}
            self._gap.restore(state["gap"])
        return self


def described(change: Change, values: Float64s) -> Change:
    """The change with the means of the latest values of the signal, oldest first, before and after it."""
    present = values[~np.isnan(values)]
    n_after = min(change.n_after, max(len(present) - 1, 1))
    before, after = present[-change.n_seen : -n_after], present[-n_after:]
    return replace(change, before=float(before.mean()) if len(before) else change.before, after=float(after.mean()))
