"""The alerts that are open: when each fires, is repeated, loses its data, and ends.

Owns one `OpenAlert` for each identity: kind, domain, context and slice. Evidence opens an alert or renews it, so that
what is seen a hundred times is told once. The book emits nothing: it returns the alerts whose state turned. Bounded by
`AlertRules.max_open`: an alert beyond it fires without a life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from driftgauge.models.alerts.evidence import Evidence, Identity
from driftgauge.models.outputs import ALERTS, AlertState
from driftgauge.models.series import ALL_DOMAINS, SeriesKey

DAY_S = 86_400.0

UNTIL_ENDED = frozenset({"below_target", "estimate_below_target", "vanished_domain", "weak_segment"})
"""Kinds that fire until the core ends them; an alert of another kind ends when its evidence is not renewed."""

WITHOUT_DATA = frozenset({"vanished_domain"})
"""Kinds that are about missing data, which must not hold them back."""

INHIBITS: Mapping[str, frozenset[str]] = {
    "served_model": frozenset({"drift", "accuracy_gap", "traffic_mix"}),
    "below_target": frozenset({"drift", "accuracy_gap", "estimate_below_target"}),
}
"""Kinds that need not be told while an alert of this kind fires for the same series, or for all domains of it."""


@dataclass(frozen=True, slots=True)
class AlertRules:
    """When alerts fire, repeat and end; times in seconds of event time.

    Attributes
    ----------
    sustained_s : by kind, how long the evidence must hold before the alert fires; absent: it fires at once
    min_sample : by kind, how many responses or labels must be behind the evidence; absent: any number
    resolve_after_s : how long without new evidence until an alert ends, where nothing else ends it
    repeat_s : how long from one message to the next while an alert fires; 0: it is told once
    no_data_s : how long an alert may lack data before it is closed
    max_open : largest number of open alerts
    """

    sustained_s: Mapping[str, float] = field(default_factory=dict)
    min_sample: Mapping[str, int] = field(default_factory=dict)
    resolve_after_s: float = DAY_S
    repeat_s: float = DAY_S
    no_data_s: float = 7 * DAY_S
    max_open: int = 1_000


@dataclass(slots=True)
class OpenAlert:
    """An alert that is not over.

    ``began`` numbers its first message, ``first``, ``last`` and ``told`` are the event times of the first and the
    newest evidence and of the newest message. ``is_told``: whether it was ever told without being inhibited.
    """

    evidence: Evidence
    state: AlertState
    began: int
    first: float
    last: float
    told: float
    is_told: bool = False

    @property
    def is_note(self) -> bool:
        """Whether it only informs: it is told once, and its end is not told."""
        return ALERTS[self.evidence.kind] == "info"


class Turn(NamedTuple):
    """An alert whose state turned, or that is told again; whether it fires for the first time; why it ended."""

    alert: OpenAlert
    fires_now: bool = False
    reason: str = ""


class AlertBook:
    """All open alerts.

    Examples
    --------
    >>> book, fall = AlertBook(AlertRules()), Evidence("drift", SeriesKey("law", "f1"), "p_correct", "it fell")
    >>> book.see(fall, now=0.0, number=1).alert.state
    'firing'
    >>> book.see(fall, now=60.0, number=2) is None
    True
    >>> [(turn.alert.state, turn.alert.began) for turn in book.pass_time(2 * DAY_S, lambda series: False)]
    [('resolved', 1)]
    """

    def __init__(self, rules: AlertRules) -> None:
        self.rules = rules
        self.open: dict[Identity, OpenAlert] = {}
        self.touched: set[Identity] = set()

    def see(self, evidence: Evidence, now: float, number: int) -> Turn | None:
        """Take evidence for an alert; returns the alert if it must be told, with ``number`` as that of its message."""
        known = self.open.get(evidence.identity)
        if known is None:
            alert = OpenAlert(evidence, "pending", number, now, now, now)
            if len(self.open) >= self.rules.max_open:
                alert.state = "firing"
                return Turn(alert, fires_now=True)
            self.open[evidence.identity] = alert
            self.touched.add(evidence.identity)
            return self._fired(alert, now) or self._told(alert, now)
        known.evidence, known.last = evidence, max(known.last, now)
        self.touched.add(evidence.identity)
        return self._fired(known, now)

    def end(self, identity: Identity, now: float, reason: str) -> Turn | None:
        """End an alert; returns it if that must be told. Nothing happens when none is open."""
        if identity not in self.open:
            return None
        alert = self.open.pop(identity)
        self.touched.add(identity)
        alert.state = "resolved" if alert.is_told else "ok"
        alert.told = now
        return None if alert.is_note else Turn(alert, reason=reason)

    def pass_time(
        self, now: float, is_silent: Callable[[SeriesKey], bool], sample: Callable[[Evidence], int] = lambda _: 0
    ) -> Iterator[Turn]:
        """Event time reached a boundary: yields the alerts that fire, are told again, lose their data, or end.

        ``is_silent`` says whether a series had no response of late; ``sample`` how many responses came since the
        change that the evidence is about.
        """
        for identity in sorted(self.open):
            if turn := self._aged(self.open[identity], now, is_silent, sample):
                self.touched.add(identity)
                yield turn

    def inhibitor(self, evidence: Evidence) -> Identity | None:
        """The first firing alert, by its identity, that makes this one superfluous; None without one."""
        found = (
            identity
            for identity, alert in self.open.items()
            if evidence.kind in INHIBITS.get(identity.kind, ())
            and alert.state == "firing"
            and identity.series.fingerprint == evidence.series.fingerprint
            and identity.series.domain in (ALL_DOMAINS, evidence.series.domain)
        )
        return min(found, default=None)

    def _aged(
        self, alert: OpenAlert, now: float, is_silent: Callable[[SeriesKey], bool], sample: Callable[[Evidence], int]
    ) -> Turn | None:
        kind, identity = alert.evidence.kind, alert.evidence.identity
        silent = kind not in WITHOUT_DATA and alert.evidence.series.domain != ALL_DOMAINS
        if silent and not alert.is_note and is_silent(alert.evidence.series):
            return self._without_data(alert, now)
        if alert.state == "no_data":
            alert.state, alert.last = "firing", now  # the time without data does not count
            return self._told(alert, now)
        if kind not in UNTIL_ENDED and now - alert.last >= self.rules.resolve_after_s:
            return self.end(identity, now, "no further evidence")
        if alert.state == "pending":
            seen = max(alert.evidence.n or 0, sample(alert.evidence))
            alert.evidence = replace(alert.evidence, n=seen)
            return self._fired(alert, now)
        is_uncovered = not alert.is_told and self.inhibitor(alert.evidence) is None
        is_due = 0 < self.rules.repeat_s <= now - alert.told and not alert.is_note
        return self._told(alert, now) if is_uncovered or is_due else None

    def _without_data(self, alert: OpenAlert, now: float) -> Turn | None:
        if alert.state == "no_data":
            is_over = now - alert.told >= self.rules.no_data_s
            return self.end(alert.evidence.identity, now, "no data for too long") if is_over else None
        if alert.state == "pending":
            return self.end(alert.evidence.identity, now, "no data")
        alert.state, alert.told = "no_data", now
        return Turn(alert)

    def _fired(self, alert: OpenAlert, now: float) -> Turn | None:
        """Let a pending alert fire if its evidence held for long enough, with enough behind it."""
        kind, n = alert.evidence.kind, alert.evidence.n
        is_sustained = now - alert.first >= self.rules.sustained_s.get(kind, 0.0)
        is_sample = n is None or n >= self.rules.min_sample.get(kind, 0)
        if alert.state != "pending" or not (is_sustained and is_sample):
            return None
        alert.state = "firing"
        return self._told(alert, now)._replace(fires_now=True)

    def _told(self, alert: OpenAlert, now: float) -> Turn:
        alert.told = now
        alert.is_told |= alert.state == "firing" and self.inhibitor(alert.evidence) is None
        return Turn(alert)

    def snapshot(self, identity: Identity) -> list[Any] | None:
        """An open alert as plain values; None when it is over."""
        alert = self.open.get(identity)
        if alert is None:
            return None
        times = [alert.first, alert.last, alert.told]
        return [alert.evidence.snapshot(), alert.state, alert.began, times, alert.is_told]

    def restore(self, saved: list[Any]) -> None:
        """Take an open alert from its snapshot."""
        evidence, state, began, (first, last, told), is_told = saved
        alert = OpenAlert(Evidence.restore(evidence), state, began, first, last, told, is_told)
        self.open[alert.evidence.identity] = alert
