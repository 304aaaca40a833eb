"""Detects that the mean of values in [0, 1] is no longer one half: an e-detector.

Ranks have the mean one half while nothing changes (`ranks`), and so has (1 + truth - prediction) / 2 while predictions
are right on average. At every value a gambler with 1 coin begins to bet that the mean is off; they all detect when they
hold ``run_length`` coins together (Shin, Ramdas and Rinaldo 2023, arXiv 2203.03532: the e-detector of Shiryaev and
Roberts; Waudby-Smith and Ramdas 2024 for the bets). While the mean given all values before is one half, the coins grow
by one a value on average, and each detection takes ``run_length`` of them away. So N values have at most N /
``run_length`` false detections on average, for any N and any values. Constant memory, constant cost for a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BETS = (-1.6, -0.5, 0.5, 1.6)  # on value - 1/2, of a quarter of the coins each; at 2 one value could lose all
_SLACK = 0.05
"""Half of the smallest distance from one half whose beginning is searched."""

Run = tuple[float, int, float]


class OffCentre:
    """Takes one value in [0, 1] at a time.

    Parameters
    ----------
    run_length : lower bound of the mean number of values from one false detection to the next

    Attributes
    ----------
    n : values taken since the last detection

    Examples
    --------
    >>> values = OffCentre(run_length=1e6)
    >>> any(values.update(i % 2) for i in range(1000)), any(values.update(0.9) for i in range(50))
    (False, True)
    >>> n_since, mean = values.since
    >>> n_since, round(mean, 1)
    (29, 0.9)
    """

    __slots__ = ("_coins", "_down", "_up", "n", "run_length")

    def __init__(self, run_length: float) -> None:
        self.run_length = run_length
        self.restart()

    def restart(self) -> None:
        """Start again without evidence, which never makes a false detection more likely."""
        self.n = 0
        self._coins = [0.0] * len(_BETS)
        self._up: Run = (0.0, 0, 0.0)
        self._down: Run = (0.0, 0, 0.0)

    @property
    def since(self) -> tuple[int, float]:
        """How many of the newest values are off, by Page's cumulative sum (1954), and their mean."""
        _, n, total = max(self._up, self._down)
        return (n, 0.5 + total / n) if n else (0, 0.5)

    def update(self, value: float) -> bool:
        """Take the next value; returns whether the mean is off. Call `restart` then."""
        self.n += 1
        surplus = value - 0.5
        self._coins = [(coins + 1) * (1 + bet * surplus) for coins, bet in zip(self._coins, _BETS, strict=True)]
        self._up, self._down = _continued(self._up, surplus, surplus), _continued(self._down, -surplus, surplus)
        is_enough = sum(self._coins) >= len(_BETS) * self.run_length
        return is_enough and self.since[0] > 0  # constant values of one half win nothing, but coins come in

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self.n, self._coins, self._up, self._down]

    def restore(self, state: Sequence[Any]) -> OffCentre:
        """Continue from a snapshot; returns self."""
        self.n, self._coins, up, down = state
        self._up, self._down = (up[0], up[1], up[2]), (down[0], down[1], down[2])
        return self


def _continued(run: Run, towards: float, surplus: float) -> Run:
    """A cumulative sum, the values since it was last 0 and their total, after one more value."""
    height, n, total = run
    height += towards - _SLACK
    return (height, n + 1, total + surplus) if height > 0 else (0.0, 0, 0.0)
