"""Drift of the signals of one domain: changes of the responses, and of the gap between labels and predictions.

Owns one change detector for each watched signal. Drift that is found without labels is a warning only: it shows that
the traffic changed, not that accuracy fell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftgauge.models.watch.catalogue import new_mean_change_detector
from driftgauge.models.watch.detector import DetectorSettings, MeanChange, MeanChangeDetector
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.ranks import N_FIRST
from driftgauge.models.watch.runs import Runs
from driftgauge.models.watch.seasons import Season

GAP = "accuracy_minus_predicted"
_CONFIRM = DetectorSettings(delta=1e-6, season="none")
"""Of the search for a change in other values of one window: it only confirms what was detected."""

_MOVED_TOO = 4.0
"""Standard errors by which a signal has moved that is named beside a detected one. It raises no warning by itself."""


@dataclass(frozen=True, slots=True)
class Change(MeanChange):
    """A change of the mean of one signal; ``what`` is the name of the signal."""

    what: str = ""


class DriftMonitor:
    """Watches named signals of one domain, one value at a time.

    A signal gets its detector with its first value.

    Parameters
    ----------
    season : the pattern that the traffic repeats
    kind : a kind of detector that finds a change of mean, by its name in `catalogue.DETECTORS`

    Attributes
    ----------
    n_young : responses taken, up to `N_FIRST`: with fewer, no value of the domain has been compared with its own

    Examples
    --------
    >>> monitor, values = DriftMonitor(), [9.0] * 1_000 + [40.0] * 1_000
    >>> [c.what for i, v in enumerate(values) for c in monitor.update({"entropy_sum": v}, float(i), 1e-6)][:1]
    ['entropy_sum']
    """

    def __init__(self, *, season: Season = "day", kind: str = "rank_shift") -> None:
        self.settings = DetectorSettings(season=season)
        self.kind = kind
        self._detectors: dict[str, MeanChangeDetector] = {}
        self._gap, self._gap_runs = OffCentre(), Runs()
        self.n_young = 0

    def update(self, values: Mapping[str, float], event_time: float, allowance: float) -> list[Change]:
        """Take at most one value of each signal, NaN where it is missing; returns the changes now detected.

        ``allowance``: of each of the signals, see `Allowance`.
        """
        self.n_young = min(self.n_young + 1, N_FIRST)
        changes = []
        for name, value in values.items():
            if math.isnan(value):
                continue
            if name not in self._detectors:
                self._detectors[name] = self._new(self.settings)
            detector = self._detectors[name]
            if detector.update(value, event_time, allowance) and (found := detector.change):
                changes.append(_named(name, found))
                detector.restart()
        return changes

    def take_moved(self) -> list[Change]:
        """The changes of the other signals that have clearly moved when one is detected; their detectors restart.

        They are part of what happened: detected later, they would be a second warning about the same change.
        """
        moved = []
        for name, detector in self._detectors.items():
            found = detector.change
            if found is not None and abs(found.size) * math.sqrt(found.n_after) >= _MOVED_TOO:
                moved.append(_named(name, found))
                detector.restart()
        return moved

    def update_gap(self, truth: float, predicted: float, event_time: float, allowance: float) -> Change | None:
        """Take the truth about a response, in [0, 1], and its prediction; returns a gap of their means.

        Predictions that are right on average have none. ``before`` is 0, ``after`` the mean of truth - prediction.
        """
        if math.isnan(predicted):
            return None
        surplus = (truth - predicted) / 2
        self._gap_runs.update(surplus, truth - predicted, event_time)
        if not self._gap.update(0.5 + surplus, allowance) or not (found := self._gap_runs.change):
            return None
        self._gap.restart()
        self._gap_runs.restart()
        return Change(0.0, found.after, found.n_after, found.n_seen, found.spread, found.since, GAP)

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
                return Change(found.before, found.after, n_after, len(latest), found.spread, change.since, change.what)
        return None

    def _new(self, settings: DetectorSettings) -> MeanChangeDetector:
        return new_mean_change_detector(self.kind, settings)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values: that of every detector, by the name of its signal."""
        return {
            "kind": self.kind,
            "n_young": self.n_young,
            "signals": {name: detector.snapshot() for name, detector in self._detectors.items()},
            "gap": [self._gap.snapshot(), self._gap_runs.snapshot()],
        }

    def restore(self, state: Mapping[str, Any]) -> DriftMonitor:
        """Continue from a snapshot, or without values when that was of another kind; returns self."""
        if state["kind"] == self.kind:
            self.n_young = state["n_young"]
            self._detectors = {name: self._new(self.settings).restore(of) for name, of in state["signals"].items()}
            gap, runs = state["gap"]
            self._gap.restore(gap)
            self._gap_runs.restore(runs)
        return self


def _named(name: str, of: MeanChange) -> Change:
    return Change(of.before, of.after, of.n_after, of.n_seen, of.spread, of.since, name)


def by_size(changes: Iterable[Change]) -> list[Change]:
    """Changes in order of how far they moved, in standard deviations, the furthest first.

    >>> [c.what for c in by_size([Change(1.0, 2.0, 9, 99, 1.0, 0.0, "a"), Change(1.0, 0.0, 9, 99, 0.5, 0.0, "b")])]
    ['b', 'a']
    """
    return sorted(changes, key=lambda change: -abs(change.size))
