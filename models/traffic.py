"""How many responses a series had in a period, also where its window is too small to hold them.

Event time is cut into parts of `Traffic.part_s` seconds, at most `PARTS` for a window; each part has a count. Memory is
bounded: parts older than the window leave, and where clocks run ahead the furthest part leaves.
"""

from __future__ import annotations

import math

from driftgauge.models.windows import WindowSpec

PARTS = 24
_MOST = 2 * PARTS


class Traffic:
    """Counts the responses of one series by event time.

    Attributes
    ----------
    part_s : length of a part in seconds, a multiple of the hop
    counts : responses by the number of their part

    Examples
    --------
    >>> traffic = Traffic(WindowSpec(window_s=120.0, hop_s=60.0))
    >>> for event_time in (30.0, 61.0, 125.0):
    ...     traffic.add(event_time, boundary=120.0)
    >>> traffic.in_window(120.0), traffic.in_window(180.0)
    (2, 2)
    """

    __slots__ = ("counts", "part_s", "spec")

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.part_s = spec.hop_s * math.ceil(spec.window_s / spec.hop_s / PARTS)
        self.counts: dict[int, int] = {}

    def add(self, event_time: float, boundary: float) -> None:
        """Count a response; ``boundary`` is the end of the window in progress."""
        part = math.floor(event_time / self.part_s)
        if part not in self.counts:
            first = self._first(boundary) - 1  # the window before may still wait for its estimate
            self.counts = {known: n for known, n in self.counts.items() if known >= first}
            if part < first:
                return
            self.counts[part] = 0
        self.counts[part] += 1
        if len(self.counts) > _MOST:
            del self.counts[max(self.counts)]

    def in_window(self, end: float) -> int:
        """Responses in the window with this end; a part that the window cuts counts as a whole."""
        first = self._first(end)
        return sum(n for part, n in self.counts.items() if first <= part < end / self.part_s)

    def _first(self, end: float) -> int:
        return math.floor((end - self.spec.window_s) / self.part_s)
