"""Evidence that the mean of values in [0, 1] is no longer one half: an e-detector with a given inflow.

Ranks have the mean one half while nothing changes (`ranks`), and so has (1 + truth - prediction) / 2 while predictions
are right on average. With each value comes some money, its *allowance*. From then on gamblers bet all they have that
the mean is off, and they detect when they hold 1 together: S_n = (S_{n-1} + w_n) (1 + bet x (value - 1/2)). While the
mean given all values before is one half, E[S_n] is the sum of the allowances, and each detection takes 1 away. So the
expected number of false detections is at most the sum of the allowances, for any number of values and any
distribution, if an allowance is known before its value (Shin, Ramdas and Rinaldo 2023, arXiv 2203.03532: the
e-detector of Shiryaev and Roberts, whose inflow is 1 / run length for every value; Waudby-Smith and Ramdas 2024 for the
bets). Constant memory, constant cost for a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SMALL, _LARGE = 0.5, 1.6
"""Bets on value - 1/2, and on 1/2 - value; at 2 one value could lose all."""


class OffCentre:
    """Takes one value in [0, 1] at a time.

    Parameters
    ----------
    margin : distance from one half that does not count, in [0, 0.1]: the bound holds for means that near one half
    only_up : bet only that the mean is above one half; the bound then holds for all means below it

    Attributes
    ----------
    evidence : what the gamblers hold, at least 0; a detection from 1 on

    Examples
    --------
    >>> values = OffCentre()
    >>> any(values.update(i % 2, 1e-6) for i in range(1000)), any(values.update(0.9, 1e-6) for i in range(50))
    (False, True)
    """

    __slots__ = ("_money", "margin", "only_up")

    def __init__(self, margin: float = 0.0, *, only_up: bool = False) -> None:
        self.margin = margin
        self.only_up = only_up
        self.restart()

    def restart(self) -> None:
        """Start again without evidence, which never makes a false detection more likely."""
        self._money = 0.0, 0.0, 0.0, 0.0  # large and small bets on a mean below, small and large ones on a mean above

    @property
    def evidence(self) -> float:
        """The mean of what the gamblers hold; from 1 on it is enough."""
        return sum(self._money) / self._n_gamblers

    def update(self, value: float, allowance: float) -> bool:
        """Take the next value; returns whether the mean is off. Call `restart` then."""
        up = value - 0.5 - self.margin
        down = up + 2 * self.margin
        inflow = 0.0 if self.only_up else allowance
        far_below, below, above, far_above = self._money  # one by one: a loop would cost twice the time
        far_below = (far_below + inflow) * (1 - _LARGE * down)
        below = (below + inflow) * (1 - _SMALL * down)
        above = (above + allowance) * (1 + _SMALL * up)
        far_above = (far_above + allowance) * (1 + _LARGE * up)
        self._money = far_below, below, above, far_above
        return far_below + below + above + far_above >= self._n_gamblers

    @property
    def _n_gamblers(self) -> int:
        return 2 if self.only_up else 4

    def snapshot(self) -> list[float]:
        """State as plain values; `restore` takes it."""
        return [*self._money[-self._n_gamblers :]]

    def restore(self, state: Sequence[Any]) -> OffCentre:
        """Continue from a snapshot; returns self."""
        far_below, below, above, far_above = (0.0, 0.0, *state) if self.only_up else state
        self._money = float(far_below), float(below), float(above), float(far_above)
        return self
