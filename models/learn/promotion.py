"""When a challenger takes the champion's place: by a sequential test that may be read after every label.

Each label gives a difference d = (squared error of the champion) - (squared error of the challenger) in [-1, 1]. A
gambler bets on d > 0 with capital that multiplies by 1 + λ s d. λ in [0, 0.9] is fixed before the label is known, and
s = weight / largest weight (`LargestWeight`) makes the bet fair for all responses, however the labelled ones were
chosen (Waudby-Smith and Ramdas 2024 for betting, Waudby-Smith and others 2022 for weights). If the challenger is no
better, the capital ever reaches 1/α with probability at most α, however often the test is read (Ville's inequality).
Evidence is collected in rounds of ``round_labels`` labels, so labels of long ago do not count against a challenger; the
error bound holds for each round and challenger.

The more unequal the weights, the more labels a promotion takes: they contain less information about all responses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_MAX_BET = 0.9


@dataclass(slots=True)
class Evidence:
    """The evidence for one challenger against the champion, in this round.

    Attributes
    ----------
    n : labels of this round
    log_capital : ln of the gambler's capital; it starts at 0
    total, squares : sums of s d and of its square, from which the next bet is sized

    Examples
    --------
    >>> evidence = Evidence()
    >>> for _ in range(100):
    ...     evidence.add(0.3)
    >>> evidence.is_enough(error=0.01, min_labels=50)
    True
    """

    n: int = 0
    log_capital: float = 0.0
    total: float = 0.0
    squares: float = 0.25

    def add(self, difference: float, scale: float = 1.0) -> None:
        """Take one label: bet first, then size the next bet.

        ``scale`` is `LargestWeight.relative` of its weight. A label that is heavier than the plan allows counts as one
        of the largest allowed weight where it speaks for the challenger, and fully where it speaks against it.
        """
        gain = (min(scale, 1.0) if difference > 0 else scale) * difference
        mean = self.total / (self.n + 1)
        bet = min(max(mean, 0.0) / ((self.squares / (self.n + 1)) + mean * mean), _MAX_BET)
        self.log_capital += math.log1p(bet * gain) if bet * gain > -1 else -math.inf
        self.n += 1
        self.total += gain
        self.squares += gain * gain

    def is_enough(self, error: float, min_labels: int) -> bool:
        """Whether the challenger has proved better; wrong with probability at most ``error`` (see the module)."""
        return self.n >= min_labels and self.log_capital >= math.log(1 / error)
