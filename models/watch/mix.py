"""Changes of the traffic mix: the shares of the domains in the traffic of one context.

A response is compared with those of its own cell of the season (`seasons`). Each domain has a *growth*: the mean, over
the newest responses, of how far its presence was above its share of the cell until then. The rank of a response in the
order of growth, among the earlier responses of its cell, has the mean one half while the responses of a cell are
exchangeable: growth and the counts that ranks are taken from are not correlated, because a response adds to both what
its cell did not foresee. When domains have grown for good, responses keep falling on the grown side, and the evidence
that the mean rank is above one half grows (`OffCentre`, with bets in that direction only).

Bounded: `MOST_NAMES` domains have a share of their own, later ones share `OTHERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.detector import MeanChange
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.rank_shift import MARGIN
from driftgauge.models.watch.runs import Runs
from driftgauge.models.watch.seasons import N_CELLS, Season, cell

MOST_NAMES = 64
OTHERS = "(other)"
NEWEST = 100
"""Responses that count as the newest traffic, with weights that fade."""

_FEW = 10.0
"""Earlier responses of a cell at which what they did not foresee counts half."""


@dataclass(frozen=True, slots=True)
class MixChange:
    """Shares of the domains before and after a change, in [0, 1], and the event time of the first response after it."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    since: float

    def moved(self, n: int = 3) -> tuple[list[str], list[str]]:
        """The domains that grew and that shrank most, the largest change first, at most n of each.

        >>> MixChange({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.5, "c": 0.3}, 9.0).moved()
        (['c'], ['a'])
        """
        names = {*self.before, *self.after}
        change = {name: self.after.get(name, 0.0) - self.before.get(name, 0.0) for name in names}
        order = sorted(names, key=lambda name: (-abs(change[name]), name))
        grew = [name for name in order if change[name] > 0.01][:n]
        return grew, [name for name in order if change[name] < -0.01][:n]


class TrafficMix:
    """Takes the domain of one response at a time.

    Examples
    --------
    >>> mix, some = TrafficMix("none"), np.random.default_rng(0).integers(6, size=1_000).tolist()
    >>> before = [mix.update("ababab"[i], 0.0, 1e-6) for i in some[:500]]
    >>> after = (mix.update("aabbcc"[i], 0.0, 1e-6) for i in some[500:])
    >>> any(before), next(change for change in after if change).moved()[0]
    (False, ['c'])
    """

    def __init__(self, season: Season = "day") -> None:
        self.season: Season = season
        self._evidence = OffCentre(MARGIN, only_up=True)
        self._runs = Runs()
        self._start()

    def _start(self) -> None:
        self._places: dict[str, int] = {}
        self._counts = np.zeros((N_CELLS[self.season], MOST_NAMES + 1), dtype=np.uint32)
        self._growth = np.zeros(MOST_NAMES + 1)
        self._evidence.restart()
        self._runs.restart()

    def update(self, domain: str, event_time: float, allowance: float) -> MixChange | None:
        """Take the domain of the next response; returns a change of the shares when it is detected now."""
        at, counts = self._place(domain), self._counts[cell(self.season, event_time)]
        rank, n = _rank(self._growth, counts, at), int(counts.sum())
        self._runs.update(rank - 0.5, rank, event_time)
        is_enough = self._evidence.update(rank, allowance)
        found = self._runs.change
        if is_enough and found is not None:
            change = self._described(counts if n else self._counts.sum(axis=0), found)
            self._start()
            return change
        self._growth *= 1 - 1 / NEWEST
        if n:
            weight = n / (n + _FEW) / NEWEST
            self._growth -= weight / n * counts
            self._growth[at] += weight
        counts[at] += 1
        return None

    def _place(self, domain: str) -> int:
        if domain in self._places:
            return self._places[domain]
        if len(self._places) >= MOST_NAMES:
            return MOST_NAMES
        return self._places.setdefault(domain, len(self._places))

    def _described(self, counts: Any, found: MeanChange) -> MixChange:
        before = counts / max(counts.sum(), 1)
        after = np.maximum(before + self._growth, 0.0)
        return MixChange(self._shares(before), self._shares(after / after.sum()), found.since)

    def _shares(self, shares: Float64s) -> dict[str, float]:
        named = {name: float(shares[at]) for name, at in self._places.items()}
        return named | ({OTHERS: float(shares[MOST_NAMES])} if len(self._places) >= MOST_NAMES else {})

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        n = len(self._places) + 1 if len(self._places) < MOST_NAMES else MOST_NAMES + 1
        mix = [list(self._places), self._counts[:, :n].tobytes(), self._growth[:n].tolist()]
        return [self.season, mix, self._evidence.snapshot(), self._runs.snapshot()]

    def restore(self, state: list[Any]) -> TrafficMix:
        """Continue from a snapshot, or without values where that had another season; returns self."""
        season, (names, counts, growth), evidence, runs = state
        if season == self.season:
            self._places = {name: at for at, name in enumerate(names)}
            self._counts[:, : len(growth)] = np.frombuffer(counts, dtype=np.uint32).reshape(-1, len(growth))
            self._growth[: len(growth)] = growth
            self._evidence.restore(evidence)
            self._runs.restore(runs)
        return self


def _rank(growth: Float64s, counts: Any, at: int) -> float:
    """The middle rank of a response of one domain in the order of growth, among the counted ones and itself."""
    below, level = int(counts[growth < growth[at]].sum()), int(counts[growth == growth[at]].sum())
    return (below + (level + 1) / 2) / (int(counts.sum()) + 1)
