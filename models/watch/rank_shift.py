"""Detects a change of the values of one signal, of any range, by their ranks among earlier values.

While nothing changes, ranks have the mean one half whatever the values are (`RunningRanks`), so evidence against that
mean is evidence of a change: a conformal test of exchangeability (Vovk, Gammerman and Shafer 2005, chapter 7). After a
detection the values after it become the reference. `OnRanks` is the part that all kinds share; a kind says what counts
as evidence.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol, Self

from driftgauge.models.watch.detector import Description, DetectorSettings, MeanChange
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.ranks import N_FIRST, RunningRanks
from driftgauge.models.watch.runs import Runs
from driftgauge.models.watch.seasons import Season

MARGIN = 0.02
"""Distance of the mean rank from one half that is no change: some .07 standard deviations. With much traffic, the way
from one hour to the next would be found otherwise."""


class Evidence(Protocol):
    """What decides on ranks; it detects with `update` and is then started again."""

    def update(self, value: float, allowance: float, /) -> bool:
        """Take the next rank; returns whether it is enough."""
        ...

    def restart(self) -> None:
        """Start again without ranks."""
        ...

    def snapshot(self) -> Any:
        """State as plain values."""
        ...

    def restore(self, state: Any, /) -> object:
        """Continue from a snapshot."""
        ...


class OnRanks:
    """A `MeanChangeDetector` of some kind of evidence; its means are in units of the values.

    Parameters
    ----------
    evidence : decides on the ranks
    season : which earlier values a value is compared with
    delta : allowance of a value that brings none of its own
    """

    description: ClassVar[Description]

    def __init__(self, evidence: Evidence, season: Season, delta: float) -> None:
        self.delta = delta
        self._ranks = RunningRanks(season)
        self._evidence = evidence
        self._runs = Runs()

    @property
    def change(self) -> MeanChange | None:
        """What the newest values suggest, whether or not it is detected; None when they suggest no change."""
        return self._runs.change

    def false_alarm_share(self, n_values: int) -> float:
        """1: nothing is promised."""
        del n_values
        return 1.0

    def update(self, value: float, event_time: float = 0.0, allowance: float | None = None, /) -> bool:
        """Take the next value; returns whether a change is detected now. NaN is ignored."""
        if math.isnan(value):
            return False
        rank = self._ranks.of(value, event_time)
        if math.isnan(rank):
            return False
        self._runs.update(rank - 0.5, value, event_time)
        is_enough = self._evidence.update(rank, self.delta if allowance is None else allowance)
        return is_enough and self._runs.change is not None  # constant values win nothing, but allowances come in

    def restart(self) -> None:
        """Start again: the values to come are the reference."""
        self._ranks.forget()
        self._evidence.restart()
        self._runs.restart()

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self._ranks.snapshot(), self._evidence.snapshot(), self._runs.snapshot()]

    def restore(self, state: list[Any], /) -> Self:
        """Continue from a snapshot, or without values where that had another season; returns self."""
        ranks, evidence, runs = state
        if ranks[0] == self._ranks.season:
            self._ranks.restore(ranks)
            self._evidence.restore(evidence)
            self._runs.restore(runs)
        return self


class RankShift(OnRanks):
    """Bets that the mean rank is off: the one kind whose number of false detections has a bound (`OffCentre`).

    Examples
    --------
    >>> detector = RankShift(1e-6)
    >>> any(detector.update(float(i % 7)) for i in range(1000)), any(detector.update(9.0) for i in range(50))
    (False, True)
    """

    description: ClassVar[Description] = Description("rank_shift", "change_of_mean", -1e6, 1e6, max_state_bytes=8_192)

    def __init__(self, delta: float, season: Season = "day") -> None:
        super().__init__(OffCentre(MARGIN), season, delta)

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        return cls(settings.delta, settings.season)

    def false_alarm_share(self, n_values: int) -> float:
        """The sum of the allowances, by Markov's inequality; ``n_values`` x ``delta`` where values bring none."""
        return min(max(n_values - N_FIRST, 0) * self.delta, 1.0)
