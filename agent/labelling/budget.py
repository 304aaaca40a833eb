"""What a judge may spend: requests, tokens and money, in one run and on one day. Safe to use from several threads.

A request is allowed only if its largest possible cost fits in every limit, so no limit is ever exceeded. What it did
cost is settled when its answer has come.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests, and the tokens sent and received."""

    calls: int = 0
    sent: int = 0
    received: int = 0

    def __add__(self, other: Spent) -> Spent:
        """The sum of both."""
        return Spent(self.calls + other.calls, self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Spent) -> Spent:
        """The difference of both."""
        return Spent(self.calls - other.calls, self.sent - other.sent, self.received - other.received)


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a million tokens."""

    sent: float = 0.0
    received: float = 0.0

    def cost(self, spent: Spent) -> float:
        """What this costs.

        >>> Prices(sent=0.5, received=2.0).cost(Spent(calls=3, sent=1_000_000, received=500_000))
        1.5
        """
        return (self.sent * spent.sent + self.received * spent.received) / 1e6


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that may be spent; 0: no limit."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def allow(self, spent: Spent, prices: Prices) -> bool:
        """Whether this is within the limits."""
        used = (spent.calls, spent.sent + spent.received, prices.cost(spent))
        return all(not limit or n <= limit for limit, n in zip((self.calls, self.tokens, self.cost), used, strict=True))


class Budget:
    """The limits of a run and of each day, and what was spent.

    Parameters
    ----------
    before : what earlier runs spent, by number of the day since the epoch

    Examples
    --------
    >>> budget = Budget(Limits(calls=2), Limits(tokens=100), Prices(), {})
    >>> budget.reserve(Spent(1, 60, 10), at=0.0), budget.reserve(Spent(1, 60, 10), at=0.0)
    (True, False)
    >>> budget.settle(Spent(1, 60, 10), Spent(1, 20, 5), at=0.0)
    >>> budget.reserve(Spent(1, 60, 10), at=0.0), budget.spent
    (True, Spent(calls=2, sent=80, received=15))
    """

    def __init__(self, run: Limits, day: Limits, prices: Prices, before: Mapping[int, Spent]) -> None:
        self._run, self._day, self.prices = run, day, prices
        self._by_day = defaultdict(Spent, before)
        self.spent = Spent()
        self._lock = threading.Lock()

    def reserve(self, most: Spent, at: float) -> bool:
        """Take the largest possible cost of a request; False where it exceeds a limit, and then nothing is taken.

        ``at`` is the time in UTC seconds.
        """
        with self._lock:
            of_run, of_day = self.spent + most, self._by_day[day_of(at)] + most
            if not (self._run.allow(of_run, self.prices) and self._day.allow(of_day, self.prices)):
                return False
            self.spent, self._by_day[day_of(at)] = of_run, of_day
            return True

    def settle(self, reserved: Spent, actual: Spent, at: float) -> None:
        """Put the actual cost in the place of a reserved one. ``at`` is the time of the reservation."""
        with self._lock:
            self.spent += actual - reserved
            self._by_day[day_of(at)] += actual - reserved

    def calls_left(self, at: float) -> int | None:
        """Requests that the limits still allow, if tokens and money suffice; None: any number."""
        with self._lock:
            used = ((self._run, self.spent), (self._day, self._by_day[day_of(at)]))
            return min((limits.calls - spent.calls for limits, spent in used if limits.calls), default=None)


def day_of(at: float) -> int:
    """The number of the day (UTC) since the epoch."""
    return int(at // DAY_S)
