"""Detects a change of the values of one signal, of any range, by their ranks among earlier values.

While nothing changes, ranks have the mean one half whatever the values are (`RunningRanks`), so evidence against that
mean (`OffCentre`) is evidence of a change: a conformal test of exchangeability (Vovk, Gammerman and Shafer 2005,
chapter 7). After a detection the values after it become the reference.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from driftgauge.models.watch.detector import Description, DetectorSettings, MeanChange
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.ranks import RunningRanks


class RankShift:
    """A `MeanChangeDetector`; the means of its changes are mean ranks.

    Parameters
    ----------
    run_length : lower bound of the mean number of unchanged values from one false detection to the next
    season_hours : see `RunningRanks`

    Examples
    --------
    >>> detector = RankShift(1e6)
    >>> any(detector.update(float(i % 7)) for i in range(1000)), any(detector.update(9.0) for i in range(50))
    (False, True)
    """

    description: ClassVar[Description] = Description("rank_shift", "change_of_mean", -1e6, 1e6, max_state_bytes=4_096)

    def __init__(self, run_length: float, season_hours: int = 24) -> None:
        self.change: MeanChange | None = None
        self._ranks = RunningRanks(season_hours)
        self._evidence = OffCentre(run_length)

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values; ``delta`` is 1 / run length."""
        return cls(1 / settings.delta, settings.season_hours)

    def false_alarm_share(self, n_values: int) -> float:
        """The number of values over the run length, by Doob's inequality."""
        return min(n_values / self._evidence.run_length, 1.0)

    def update(self, value: float, event_time: float = 0.0, /) -> bool:
        """Take the next value; returns whether a change is detected now. NaN is ignored."""
        self.change = None
        if value != value:
            return False
        was_like_with_like, rank = self._ranks.is_like_with_like, self._ranks.of(value, event_time)
        if rank != rank:
            return False
        if self._ranks.is_like_with_like and not was_like_with_like:
            self._evidence.restart()  # it comes from ranks that differ by hour
        if not self._evidence.update(rank):
            return False
        n_after, after = self._evidence.since
        self.change = MeanChange(0.5, after, n_after, self._evidence.n)
        self._evidence.restart()
        self._ranks.forget()
        return True

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self._ranks.snapshot(), self._evidence.snapshot()]

    def restore(self, state: list[Any], /) -> Self:
        """Continue from a snapshot; returns self."""
        ranks, evidence = state
        self._ranks.restore(ranks)
        self._evidence.restore(evidence)
        return self
