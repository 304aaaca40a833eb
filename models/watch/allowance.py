"""How many false warnings may be expected while event time passes: the one budget of all that is watched.

The budget is some false warnings in a *horizon* of event time. Each value that a detector takes carries the part of it
for the time since the value before, *anywhere in the stream*. A detector gives no more false detections, on average,
than its values carried (`OffCentre`), and each moment is carried by one value. So the number of false detections of
one signal over all domains up to time T is at most rate x T on average, however much traffic there is and however many
domains share it. Nothing is divided by the number of domains, and a domain has the part that its share of the traffic
brings it.

The bound needs weights that are known before the value: they depend on event times alone.
"""

from __future__ import annotations

import math

LONGEST_S = 86_400.0
"""A silence longer than this brings no more: a jump of event time must not be enough for a warning."""

SHORTEST_HORIZONS = 1e-9
"""A value brings at least this share of a horizon, so that changes are found where event time does not move (files
without times). It adds one horizon in 10^9 values."""


class Allowance:
    """Hands out the budget of one kind of stream, a value at a time.

    Parameters
    ----------
    rate : expected false detections at most in a second of event time, of one signal
    horizon_s : seconds of event time of the promise; it only scales the least a value brings

    Attributes
    ----------
    until : event time up to which the budget is handed out; -inf before the first value

    Examples
    --------
    >>> allowance = Allowance(rate=1e-6, horizon_s=1e6)
    >>> [round(allowance.take(event_time), 9) for event_time in (50.0, 60.0, 60.0)]
    [1e-09, 1e-05, 1e-09]
    """

    __slots__ = ("least", "rate", "until")

    def __init__(self, rate: float, horizon_s: float) -> None:
        self.rate = rate
        self.least = rate * horizon_s * SHORTEST_HORIZONS
        self.until = -math.inf

    def take(self, event_time: float) -> float:
        """The part for the time since the last call; positive. Event time that goes back brings nothing."""
        passed_s = event_time - self.until if self.until > -math.inf else 0.0
        self.until = max(self.until, event_time)
        return max(self.rate * min(passed_s, LONGEST_S), self.least)
