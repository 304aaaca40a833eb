"""Drift of the signals of one domain: changes of the responses, and of the gap between labels and predictions.

Owns one change detector for each watched signal. Drift that is found without labels is a warning only: it shows that
the traffic changed, not that accuracy fell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftgauge.models.watch.catalogue import new_mean_change_detector
from driftgauge.models.watch.detector import DetectorSettings, MeanChange, MeanChangeDetector


@dataclass(frozen=True, slots=True)
class Change(MeanChange):
    """A change of the mean of one signal; ``what`` is the name of the signal."""

    what: str


class DriftMonitor:
    """Watches named signals of one domain, one value at a time.

    A signal gets its detector with its first value.

    Parameters
    ----------
    delta : probability of a false detection, as the kind of detector promises
    grace : values of a signal before its first detection
    kind : a kind of detector that finds a change of mean, by its name in `catalogue.DETECTORS`

    Examples
    --------
    >>> monitor = DriftMonitor()
    >>> [c.what for i in range(2000) for c in monitor.update({"p_correct": 0.9 if i < 1000 else 0.4})][:1]
    ['p_correct']
    """

    def __init__(self, *, delta: float = 0.002, grace: int = 30, kind: str = "adwin") -> None:
        self.settings = DetectorSettings(delta, grace)
        self.kind = kind
        self._detectors: dict[str, MeanChangeDetector] = {}

    def update(self, values: dict[str, float]) -> list[Change]:
        """Take at most one value of each signal, NaN where it is missing, and return the changes now detected."""
        changes = []
        for name, value in values.items():
            if value != value:
                continue
            if name not in self._detectors:
                self._detectors[name] = self._new()
            detector = self._detectors[name]
            if detector.update(value) and (found := detector.change):
                changes.append(Change(found.before, found.after, found.n_after, found.n_seen, name))
        return changes

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
        detector, latest = self._new(), values[-change.n_seen :]
        for i, value in enumerate(latest, start=1):
            if detector.update(value) and (found := detector.change):
                n_after = found.n_after + len(latest) - i
                return Change(found.before, found.after, n_after, len(latest), change.what)
        return None

    def _new(self) -> MeanChangeDetector:
        return new_mean_change_detector(self.kind, self.settings)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values: that of every detector, by the name of its signal."""
        return {name: detector.snapshot() for name, detector in self._detectors.items()}

    def restore(self, state: Mapping[str, Any]) -> DriftMonitor:
        """Continue from a snapshot of a monitor of the same kind; returns self."""
        for name, saved in state.items():
            self._detectors[name] = self._new().restore(saved)
        return self
