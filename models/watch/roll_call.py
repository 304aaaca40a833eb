"""Which domains are present: new ones, and those that fell silent for longer than their history explains.

At the end of each hour of event time with any response, each domain that had none in it gives evidence of having
vanished: minus the logarithm of the share of such hours of the season that used to be silent. A domain has *vanished*
when the evidence of its silent hours in a row passes `RollCall.limit`, and `FACTOR` times what it ever was before the
domain came back. Hours without any response in the stream count for no domain: they say that the stream stopped, not a
domain. Hours in which a domain never had responses, such as nights and a first weekend, give no evidence.

If the hours of a cell were independent, at most ``false_warnings`` domains would be reported by mistake in a horizon on
average: evidence m from a given hour on has a probability of e^-m. Where they are not, a domain's own longest silence
says so. Memory: two counts for each cell and known domain.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

from driftgauge.models.watch.seasons import HOUR_S, N_CELLS, Season, cell

FACTOR = 2.0
_FADE = 0.995
"""By which the memory of the longest silence fades in an hour with responses: by half in six days."""

FORGET_HOURS = 168
"""A domain that is silent for so long after it was reported is forgotten."""


class Vanished(NamedTuple):
    """A domain that fell silent: the end of its last hour with responses, and how many hours since had some before."""

    domain: str
    since: float
    n_missed: float


class _Presence:
    """What is known of one domain."""

    __slots__ = ("active", "evidence", "hours", "last", "longest", "missed", "silent_hours")

    def __init__(self, season: Season) -> None:
        self.active = [0] * N_CELLS[season]  # hours with responses, by cell
        self.hours = [0] * N_CELLS[season]  # hours, by cell
        self.last = -math.inf  # end of the last hour with responses
        self.evidence = self.longest = self.missed = 0.0  # of the present silence, the largest before, and its hours
        self.silent_hours = 0  # since it vanished; 0: it has not

    def end_hour(self, at: int, end: float, limit: float, *, is_active: bool) -> bool:
        """Whether the domain is to be reported after an hour of this cell."""
        if is_active:
            self.longest = _FADE * max(self.longest, self.evidence)
            self.evidence, self.missed, self.silent_hours, self.last = 0.0, 0.0, 0, end
            self.active[at] += 1
        else:
            self.evidence -= math.log((self.hours[at] - self.active[at] + 1) / (self.hours[at] + 1))
            self.missed += self.active[at] / max(self.hours[at], 1)
        if self.silent_hours or self.evidence > max(limit, FACTOR * self.longest):
            self.silent_hours += 1
            return self.silent_hours == 1
        self.hours[at] += 1
        return False

    def state(self) -> list[Any]:
        numbers = [self.evidence, self.longest, self.missed, self.last, self.silent_hours]
        return [self.active, self.hours, numbers]

    def restore(self, state: list[Any]) -> _Presence:
        self.active, self.hours, numbers = state
        self.evidence, self.longest, self.missed, self.last, self.silent_hours = numbers
        return self


class RollCall:
    """Takes which domains had responses in each hour that had any, in the order of event time.

    Parameters
    ----------
    season : the pattern that the traffic repeats
    false_warnings : domains expected at most to be reported by mistake in a horizon, see above
    horizon_s : seconds of event time

    Attributes
    ----------
    started : event time of the first response; infinite before it
    hour : number of the present hour; -inf before the first response
    is_changed : whether an hour ended since `known` was last saved

    Examples
    --------
    >>> roll = RollCall("none")
    >>> for hour in range(48):
    ...     roll.reach(hour * 3_600.0)
    ...     if vanished := roll.end_hour({"law", "tax"} if hour < 40 else {"law"}, {"law", "tax"}):
    ...         print(hour, [(of.domain, of.since / 3_600, round(of.n_missed)) for of in vanished])
    42 [('tax', 40.0, 3)]
    """

    def __init__(self, season: Season = "day", false_warnings: float = 1.0, horizon_s: float = 2_592_000.0) -> None:
        self.season: Season = season
        self.false_warnings, self.horizon_s = false_warnings, horizon_s
        self.started, self.hour = math.inf, -math.inf
        self.is_changed = False
        self._known: dict[str, _Presence] = {}

    @property
    def limit(self) -> float:
        """Evidence that a silence must give at least, in nats."""
        chances = max(len(self._known), 1) * self.horizon_s / HOUR_S
        return math.log(max(chances / self.false_warnings, math.e))

    def has_ended(self, event_time: float) -> bool:
        """Whether event time has left the present hour: `end_hour` is due, then `reach`."""
        return -math.inf < self.hour < math.floor(event_time / HOUR_S)

    def reach(self, event_time: float) -> None:
        """Take the event time of a response."""
        self.started = min(self.started, event_time)
        self.hour = max(self.hour, math.floor(event_time / HOUR_S))

    def end_hour(self, present: Collection[str], live: Collection[str]) -> list[Vanished]:
        """Take the domains that had responses in the present hour; returns those to report.

        Domains that are not live are forgotten, and those that vanished long ago.
        """
        at, end, limit = cell(self.season, self.hour * HOUR_S), (self.hour + 1) * HOUR_S, self.limit
        kept = (name for name, known in self._known.items() if name in live and known.silent_hours <= FORGET_HOURS)
        self._known = {name: self._known[name] for name in kept}
        for name in sorted(present):  # the order of a set differs from process to process
            if name in live and name not in self._known:
                self._known[name] = _Presence(self.season)
        self.is_changed = True
        return [
            Vanished(name, known.last, known.missed)
            for name, known in self._known.items()
            if known.end_hour(at, end, limit, is_active=name in present)
        ]

    def knows(self, domain: str) -> bool:
        """Whether a domain is watched: it was present in an hour that ended, and was not forgotten."""
        return domain in self._known

    def forget(self, domain: str) -> None:
        """Stop waiting for a domain that is not to come again; if it does, its habits are learned anew."""
        self.is_changed |= domain in self._known
        self._known.pop(domain, None)

    def present(self) -> list[Any]:
        """What changes with each response, as plain values; `restore` takes it."""
        return [self.started, self.hour]

    def known(self) -> list[Any]:
        """What changes with each hour, as plain values; `restore` takes it."""
        return [self.season, [[name, known.state()] for name, known in self._known.items()]]

    def restore(self, present: list[Any], known: list[Any] | None) -> RollCall:
        """Continue from what was saved, without history where that had another season; returns self."""
        self.started, self.hour = present
        if known is not None and known[0] == self.season:
            self._known = {name: _Presence(self.season).restore(state) for name, state in known[1]}
        return self
