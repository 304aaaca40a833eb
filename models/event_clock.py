"""How far event time has advanced, from events of several partitions, some of which may have wrong clocks.

Bounded by the number of partitions, and by `RECENT` event times for each of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

RECENT = 16
"""Event times of one partition, the majority of which decides whether a jump is real."""

Saved: TypeAlias = list[tuple[str, float, list[float]]]


class PartitionClock:
    """Event time of one partition.

    An event time more than ``max_jump_s`` ahead moves the clock only when most of the last `RECENT` event times are
    that far ahead. So neither one wrong clock among the producers nor a few of them move it. A clock that an event far
    ahead of the others started goes back.

    Examples
    --------
    >>> clock = PartitionClock(0.0)
    >>> [clock.observe(t, max_jump_s=60.0) for t in (10.0, 9_000_000.0, 20.0)], clock.event_time
    ([True, False, True], 20.0)
    """

    def __init__(self, event_time: float = -math.inf, recent: Iterable[float] = ()) -> None:
        self.event_time = event_time
        self.recent = deque(recent, RECENT)

    def observe(self, event_time: float, max_jump_s: float) -> bool:
        """Take the next event time; False: it is too far ahead to be believed yet."""
        if max_jump_s < math.inf:
            self.recent.append(event_time)
        is_first, is_far = self.event_time <= 0, event_time > self.event_time + max_jump_s  # 0: events without time
        if not is_first and (is_far or self._may_have_started_ahead(event_time, max_jump_s)):
            self._follow_majority(max_jump_s)
        else:
            self.event_time = max(self.event_time, event_time)
        return event_time <= self.event_time + max_jump_s

    def n_ahead(self, max_jump_s: float) -> int:
        """How many of the recent event times are too far ahead to be believed."""
        return sum(t > self.event_time + max_jump_s for t in self.recent)

    def _may_have_started_ahead(self, event_time: float, max_jump_s: float) -> bool:
        return len(self.recent) < RECENT and event_time < self.event_time - max_jump_s

    def _follow_majority(self, max_jump_s: float) -> None:
        """Move to the newest event time near the median, unless the median is near or behind a settled clock."""
        median = sorted(self.recent)[(len(self.recent) - 1) // 2]
        is_settled = len(self.recent) == RECENT
        if abs(median - self.event_time) > max_jump_s and (median > self.event_time or not is_settled):
            self.event_time = max(t for t in self.recent if t <= median + max_jump_s)


class EventClock:
    """Event time over all partitions: that of the slowest active one.

    A partition is active while its event time is at most ``idle_after_s`` behind that of the furthest one. So a
    partition that is read later than others holds event time back, and one without traffic does so for no longer than
    ``idle_after_s``. Only event times count, never a clock of the machine.

    Examples
    --------
    >>> clock = EventClock(idle_after_s=60.0)
    >>> for partition, event_time in (("a", 100.0), ("b", 70.0), ("a", 120.0), ("a", 200.0)):
    ...     print(clock.observe(partition, event_time), clock.event_time)
    True 100.0
    True 70.0
    True 70.0
    True 200.0

    Attributes
    ----------
    furthest : the highest event time of any partition; -inf before the first event
    event_time : event time of the slowest active partition. It may go back when a partition starts behind the others
    """

    def __init__(self, idle_after_s: float = 600.0) -> None:
        self.idle_after_s = idle_after_s
        self.partitions: dict[str, PartitionClock] = {}
        self.furthest = self.event_time = -math.inf

    def observe(self, partition: str, event_time: float, max_jump_s: float = math.inf) -> bool:
        """Take the next event time of a partition; False: it is too far ahead to be believed yet."""
        if (clock := self.partitions.get(partition)) is None:
            clock = self.partitions[partition] = PartitionClock()
        before = clock.event_time
        is_believed = clock.observe(event_time, max_jump_s)
        if clock.event_time != before:
            self._follow(before, clock.event_time)
        return is_believed

    def tick(self, event_time: float) -> None:
        """Move every partition on to at least this time."""
        for clock in self.partitions.values():
            clock.event_time = max(clock.event_time, event_time)
        self._look_at_all()

    def _follow(self, before: float, after: float) -> None:
        """One partition moved. There may be thousands, so all are looked at only where the slowest is another now."""
        if len(self.partitions) == 1:
            self.furthest = self.event_time = after
            return
        furthest = max(self.furthest, after)
        oldest = furthest - self.idle_after_s
        if after < before or before == self.event_time or self.event_time < oldest:
            self._look_at_all()
            return
        self.furthest = furthest
        if after >= oldest:
            self.event_time = min(self.event_time, after)

    def _look_at_all(self) -> None:
        times = [clock.event_time for clock in self.partitions.values()]
        self.furthest = max(times, default=-math.inf)
        oldest = self.furthest - self.idle_after_s
        self.event_time = min((t for t in times if t >= oldest), default=-math.inf)

    def of(self, partition: str) -> float:
        """Event time of one partition; -inf where it had no event."""
        clock = self.partitions.get(partition)
        return -math.inf if clock is None else clock.event_time

    def snapshot(self) -> Saved:
        """State as plain values; `restore` takes it."""
        return [(name, clock.event_time, list(clock.recent)) for name, clock in sorted(self.partitions.items())]

    def restore(self, saved: Saved) -> EventClock:
        """Take over what `snapshot` gave; returns self."""
        self.partitions = {name: PartitionClock(event_time, recent) for name, event_time, recent in saved}
        self._look_at_all()
        return self
