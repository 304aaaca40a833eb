"""Change detectors of one domain: has what the model emits moved, do labels still agree with the predictions.

Each watched signal has an ADWIN of its own (Bifet and Gavaldà 2007, river's implementation): it keeps as long a
window as is consistent with one mean, and cuts it when two halves differ. Memory grows with the logarithm of
the window. What is found without labels is a warning only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from river.drift import ADWIN

CLOCK = 8
"""Values from one look of a detector to the next."""


@dataclass(frozen=True, slots=True)
class Change:
    """One signal moved: its mean before and after, how many of the latest values are on the new side, of how many."""

    what: str
    before: float
    after: float
    n_after: int
    n_seen: int


class DriftMonitor:
    """Watches named signals of one domain, one value at a time.

    Parameters
    ----------
    delta : probability of a false cut, per test and signal (river's ``delta``)
    grace : values a signal must have before a cut is believed

    Examples
    --------
    >>> monitor = DriftMonitor()
    >>> [c.what for i in range(2000) for c in monitor.update({"p_correct": 0.9 if i < 1000 else 0.4})][:1]
    ['p_correct']
    """

    def __init__(self, *, delta: float = 0.002, grace: int = 30) -> None:
        self.delta = delta
        self.grace = grace
        self._detectors: dict[str, Any] = {}

    def update(self, values: dict[str, float]) -> list[Change]:
        """Take one value per signal (NaN: none this time) and return what moved."""
        changes = []
        for name, value in values.items():
            if value != value:
                continue
            if name not in self._detectors:
                self._detectors[name] = self._new()
            detector = self._detectors[name]
            width, total = detector.width + 1, detector.estimation * detector.width + value
            detector.update(value)
            if detector.drift_detected:
                n_after, after = int(detector.width), float(detector.estimation)
                before = float((total - n_after * after) / (width - n_after))
                changes.append(Change(name, before, after, n_after, int(width)))
        return changes

    def again(self, change: Change, values: Sequence[float]) -> Change | None:
        """The change as a new detector sees it in other values of the same responses, oldest first; None: nowhere."""
        fresh, shown = DriftMonitor(delta=self.delta, grace=self.grace), values[-change.n_seen :]
        for i, value in enumerate(shown, start=1):
            for found in fresh.update({change.what: value}):
                return replace(found, n_after=found.n_after + len(shown) - i, n_seen=len(shown))
        return None

    def _new(self) -> Any:
        """A detector that looks after every `CLOCK` values; river has no types for it."""
        make: Any = ADWIN
        return make(delta=self.delta, grace_period=self.grace, clock=CLOCK)

    def snapshot(self) -> bytes:
        """State as bytes: river's own plain-data state of every detector, never a pickle."""
        return msgspec.msgpack.encode({name: d._helper.__getstate__() for name, d in self._detectors.items()})

    def restore(self, state: bytes) -> DriftMonitor:
        """Take over what `snapshot` gave; returns self."""
        for name, helper in msgspec.msgpack.decode(state, type=dict[str, bytes]).items():
            detector = self._new()
            detector._helper.__setstate__(helper)
            self._detectors[name] = detector
        return self
