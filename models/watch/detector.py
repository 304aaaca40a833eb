"""What every change detector promises: it takes one value at a time and returns whether the values have changed.

A detector owns what it remembers of one stream of values, and nothing else: it does not know what the values mean, and
it emits no alerts. `DriftMonitor` and `AccuracyWatch` use detectors for a domain. `catalogue.DETECTORS` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

from driftgauge.models.watch.seasons import Season

Finds: TypeAlias = Literal["change_of_mean", "fall_below_target"]


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What can be configured of a detector; each kind reads the settings that it needs.

    Attributes
    ----------
    delta : probability of a false detection: ever, or per value, see `ChangeDetector.false_alarm_share`
    season : the pattern that the values repeat; detectors that compare by hour read it
    target : the mean below which values should not fall, in [0, 1]; detectors of a change of mean ignore it
    """

    delta: float = 0.002
    season: Season = "day"
    target: float = 0.8


@dataclass(frozen=True, slots=True)
class Description:
    """What a kind of detector needs, finds and occupies.

    Attributes
    ----------
    kind : its name in the table
    finds : ``change_of_mean`` in either direction, or ``fall_below_target``
    low, high : range of the values for which the promise about false alarms holds; values outside are not refused
    max_state_bytes : upper bound of the snapshot as MessagePack, after any number of values
    is_proven : whether `ChangeDetector.false_alarm_share` is a proven bound; without one it is 1
    """

    kind: str
    finds: Finds
    low: float
    high: float
    max_state_bytes: int
    is_proven: bool = True


@dataclass(frozen=True, slots=True)
class MeanChange:
    """A change of the mean of some values.

    Attributes
    ----------
    before, after : mean of the values before and after the change
    n_after : how many of the latest values came after the change
    n_seen : how many of the latest values were compared
    spread : standard deviation of the values that were compared
    since : event time of the first value after the change
    """

    before: float
    after: float
    n_after: int
    n_seen: int
    spread: float = 0.0
    since: float = 0.0

    @property
    def size(self) -> float:
        """The change in standard deviations, positive upwards; 0 for values that do not vary.

        >>> MeanChange(4.0, 1.0, 10, 100, spread=2.0).size
        -1.5
        """
        return (self.after - self.before) / self.spread if self.spread > 0 else 0.0


class ChangeDetector(Protocol):
    """Watches one stream of values for one kind of change. Deterministic; constant or logarithmic memory."""

    description: ClassVar[Description]

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        ...

    def false_alarm_share(self, n_values: int) -> float:
        """Upper bound of the share of unchanged streams of so many values with any false detection, in [0, 1]."""
        ...

    def update(self, value: float, /) -> bool:
        """Take the next value; returns whether a change is detected now. NaN is missing: it is ignored."""
        ...

    def snapshot(self) -> Any:
        """State as plain values that MessagePack can hold, never a pickle; `restore` takes it."""
        ...

    def restore(self, state: Any, /) -> Self:
        """Continue from a snapshot of a detector with the same kind and settings; returns self."""
        ...


@runtime_checkable
class MeanChangeDetector(ChangeDetector, Protocol):
    """A detector of a change of mean, which also describes the change: `DriftMonitor` can use it."""

    def update(self, value: float, event_time: float = 0.0, allowance: float | None = None, /) -> bool:
        """Take the next value of a response at this event time; as `ChangeDetector.update`. Call `restart` then.

        ``allowance`` is the expected number of false detections that this value adds at most (`Allowance`); None:
        ``DetectorSettings.delta``. A detector without a proven bound does not read it.
        """
        ...

    @property
    def change(self) -> MeanChange | None:
        """The change that the newest values suggest, detected or not; None when they suggest none."""
        ...

    def restart(self) -> None:
        """Start again after a change: the values to come are the reference."""
        ...
