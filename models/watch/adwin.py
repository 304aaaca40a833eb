"""ADWIN (Bifet and Gavaldà 2007), river's implementation: detects a change of the mean of a stream of values.

It keeps as long a window of values as is consistent with one mean, and cuts the window when two halves differ. After a
detection it starts with an empty window. The state comes from two private attributes of river's class: `_helper`, and
`_drift_detected`, which makes the next value empty the window. River is used nowhere else in this package.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from river.drift import ADWIN

from driftgauge.models.watch.detector import Description, DetectorSettings, MeanChange

CLOCK = 8
"""Values from one test to the next."""


class Adwin:
    """River's ADWIN as a `MeanChangeDetector`. Memory grows with the logarithm of the window.

    Parameters
    ----------
    delta : probability of a false cut of one test (river's ``delta``)
    grace : values before the first test

    Examples
    --------
    >>> detector = Adwin()
    >>> any(detector.update(0.9) for _ in range(1000)), any(detector.update(0.4) for _ in range(200))
    (False, True)
    """

    description: ClassVar[Description] = Description("adwin", "change_of_mean", 0.0, 1.0, max_state_bytes=8_192)

    def __init__(self, delta: float = 0.002, grace: int = 30) -> None:
        make: Any = ADWIN  # river has no types for its arguments
        self.delta = delta
        self.change: MeanChange | None = None
        self._adwin = make(delta=delta, grace_period=grace, clock=CLOCK)

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        return cls(settings.delta, settings.grace)

    def false_alarm_share(self, n_values: int) -> float:
        """``delta`` for every test, by the union bound; far fewer in practice."""
        return min(self.delta * (n_values // CLOCK), 1.0)

    def update(self, value: float, /) -> bool:
        """Take the next value; returns whether the window was cut. NaN is ignored."""
        self.change = None
        if value != value:
            return False
        adwin = self._adwin
        width, total = adwin.width + 1, adwin.estimation * adwin.width + value
        adwin.update(value)
        if not adwin.drift_detected:
            return False
        n_after, after = int(adwin.width), float(adwin.estimation)
        before = float((total - n_after * after) / (width - n_after))
        self.change = MeanChange(before, after, n_after, int(width))
        return True

    def snapshot(self) -> bytes:
        """State as river's own plain data, never a pickle."""
        state: bytes = self._adwin._helper.__getstate__()
        return state

    def restore(self, state: bytes, /) -> Self:
        """Continue from a snapshot; returns self."""
        adwin = self._adwin
        adwin._helper.__setstate__(state)
        # river empties the window with the value after a detection: where it counts a detection, it has yet to do so
        adwin._drift_detected = adwin.n_detections > 0
        return self
