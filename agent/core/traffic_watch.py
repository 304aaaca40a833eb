"""Watches the traffic itself: the mix of domains in each context, new domains, and domains that vanish."""

from __future__ import annotations

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.models.series import ALL_DOMAINS, SeriesKey
from driftgauge.models.watch.mix import MixChange
from driftgauge.models.watch.roll_call import Vanished
from driftgauge.models.watch.seasons import DAY_S

NEW_A_DAY = 20
"""Largest number of alerts about new domains in a day, for producers that send a new name with each response."""


class TrafficWatch:
    """Takes the domain of each response when it arrives, and turns what changed into alerts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def see(self, domain: DomainState, *, is_first: bool) -> None:
        """Take the domain of a response that arrives now, in the order of arrival."""
        state, series = self._batch.state, domain.series
        now, roll_call = state.event_time, state.roll_call
        if roll_call.has_ended(now):
            self._end_hour()
        roll_call.reach(now)
        if domain.hour != roll_call.hour:
            domain.hour = roll_call.hour
            self._end(series.domain, "it is back")
        if is_first:
            self._see_new(series)
        known = state.watches.get(series.fingerprint)
        if known is None or known.wants_mix(now):
            allowance = state.allowances["traffic_mix"].take(now)
            change = state.watch(series.fingerprint).see_domain(series.domain, now, allowance)
            if change is not None:
                self._alert_mix(series.fingerprint, change)

    def _end_hour(self) -> None:
        state = self._batch.state
        present = {series.domain for series, of in state.domains.items() if of.hour == state.roll_call.hour}
        for vanished in state.roll_call.end_hour(present, state.names):
            self._alert_vanished(vanished)
        gone = [of.series.domain for of in state.alerts.open if of.kind == "vanished_domain"]
        for domain in sorted(gone):
            if not state.roll_call.knows(domain):
                self._end(domain, "it is silent for so long that it is forgotten")

    def _end(self, domain: str, reason: str) -> None:
        at = self._batch.state.event_time
        self._batch.end_alert("vanished_domain", SeriesKey(domain, ""), reason, at=at)

    def _see_new(self, series: SeriesKey) -> None:
        """Alert about a domain never seen; not in the first day of a stream, in which all are new."""
        state = self._batch.state
        is_known = state.names[series.domain] != 1 or any(
            left.domain == series.domain for left in state.retired.domains
        )
        n_alerted = sum(identity.kind == "new_domain" for identity in state.alerts.open)
        if is_known or state.event_time < state.roll_call.started + DAY_S or n_alerted >= NEW_A_DAY:
            return
        message = f"domain {series.domain} has its first response"
        self._batch.alert("new_domain", series, "domain", message, at=state.event_time)

    def _alert_vanished(self, vanished: Vanished) -> None:
        message = f"{vanished.domain} has had no response for {vanished.n_missed:.1f} of its usual hours"
        self._batch.alert(
            "vanished_domain", SeriesKey(vanished.domain, ""), "responses", message,
            at=self._batch.state.event_time, since=vanished.since, before=vanished.n_missed, after=0.0,
        )  # fmt: skip

    def _alert_mix(self, fingerprint: str, change: MixChange) -> None:
        grew, shrank = change.moved()
        first = (grew or shrank or [ALL_DOMAINS])[0]
        parts = [
            f"{way} {self._listed(names, change)}" for way, names in (("grew:", grew), ("shrank:", shrank)) if names
        ]
        self._batch.alert(
            "traffic_mix", SeriesKey(ALL_DOMAINS, fingerprint), first, f"the traffic mix changed; {'; '.join(parts)}",
            at=self._batch.state.event_time, since=change.since,
            before=change.before.get(first), after=change.after.get(first),
        )  # fmt: skip

    @staticmethod
    def _listed(names: list[str], change: MixChange) -> str:
        shares = ((change.before.get(name, 0.0), change.after.get(name, 0.0)) for name in names)
        moved = (f"{name} from {a:.1%} to {b:.1%}" for name, (a, b) in zip(names, shares, strict=True))
        return ", ".join(moved)
