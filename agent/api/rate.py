"""How many requests a client may send: a bucket of tokens for each address. Bounded by `MAX_CLIENTS` addresses."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000


class RateLimit:
    """Allows each client ``per_s`` requests a second, and as many at once.

    >>> limit = RateLimit(2, now=lambda: 0.0)
    >>> [limit.wait_s("10.0.0.1") for _ in range(3)]
    [0.0, 0.0, 0.5]
    """

    def __init__(self, per_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.per_s, self._now = per_s, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; 0 where it is allowed, else the seconds until the next one is."""
        now = self._now()
        left, since = self._buckets.pop(client, (self.per_s, now))
        left = min(self.per_s, left + (now - since) * self.per_s)
        is_allowed = left >= 1
        self._buckets[client] = (left - 1 if is_allowed else left), now
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) / self.per_s
