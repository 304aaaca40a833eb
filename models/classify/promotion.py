"""When a challenger takes the champion's place: by a sequential test that may be read after every label.

Each label gives a difference d = (squared error of the champion) - (squared error of the challenger) in [-1, 1]. A
gambler bets on d > 0 with capital that multiplies by 1 + λ d, where λ is fixed before d is known (Waudby-Smith and
Ramdas 2024). If the challenger is no better, the capital ever reaches 1/α with probability at most α, however often
the test is read (Ville's inequality). Evidence is collected in rounds of ``round_labels`` labels, so labels of long ago
do not count against a challenger; the error bound holds for each round and challenger.

Labels have weights, and a bet is multiplied by the weight but capped. The bound is known to hold where weights do not
depend on the differences. It fails where labels that speak against the challenger are rarely drawn and therefore heavy:
the cap then cuts the losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_MAX_BET = 0.5


@dataclass(slots=True)
class Evidence:
    """The evidence for one challenger against the champion, in this round.

    Attributes
    ----------
    n : labels of this round
    log_capital : ln of the gambler's capital; it starts at 0
    total, squares : sums of d and d², from which the next bet is sized

    Examples
    --------
    >>> evidence = Evidence()
    >>> for _ in range(100):
    ...     evidence.add(0.3, 1.0)
    >>> evidence.is_enough(error=0.01, min_labels=50)
    True
    """

    n: int = 0
    log_capital: float = 0.0
    total: float = 0.0
    squares: float = 0.25
    mean_weight: float = 0.0

    def add(self, difference: float, weight: float) -> None:
        """Take one label: bet first, then size the next bet."""
        # the weight is known before the label is, so the bet may depend on it
        relative = weight / self.mean_weight if self.n else 1.0
        mean = self.total / (self.n + 1)
        bet = max(mean, 0.0) / ((self.squares / (self.n + 1)) + mean * mean)
        self.log_capital += math.log1p(min(bet * relative, _MAX_BET) * difference)
        self.n += 1
        self.mean_weight += (weight - self.mean_weight) / self.n
        self.total += min(relative, 10.0) * difference
        self.squares += min(relative, 10.0) * difference * difference

    def is_enough(self, error: float, min_labels: int) -> bool:
        """Whether the challenger has proved better; wrong with probability at most ``error`` (see the module)."""
        return self.n >= min_labels and self.log_capital >= math.log(1 / error)
