"""Which contexts and domains are live: a new one takes the place of the one that is silent longest.

A context or a domain that leaves keeps its rows in the store, and its state beside the live state (`Retired`). It gets
its state back with its next response. A label for it takes effect at once, and does not make it live: labels of an old
period must not drive out the traffic of today. As many contexts and domains that left are kept as may be live; of more,
those that left first are forgotten.
"""

from __future__ import annotations

import math

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.retired import RetiredDomain
from driftgauge.agent.core.state import OVERFLOW_DOMAIN
from driftgauge.models.outputs import estimate_key
from driftgauge.models.series import SeriesKey


class Roster:
    """The contexts and domains of a batch, live and retired. Whatever leaves is one that is not in the run any more."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._state = batch.state
        self._retired = batch.state.retired

    # --- live or retired

    def context(self, fingerprint: str) -> ContextState | None:
        """The state of a context, live or retired; None for one that was forgotten."""
        return self._state.contexts.get(fingerprint) or self._retired.context(fingerprint, self._batch.memory)

    def domain(self, series: SeriesKey) -> DomainState:
        """The state of a domain in a known context, live or retired; it counts as touched."""
        if series in self._state.domains:
            return self._state.touched(series)
        if (retired := self._retired.domain(series, self._batch.memory)) is None:
            retired = RetiredDomain(self._state.new_domain(series), None)
            self._retire(series, retired)
        self._retired.touch(series)
        return retired.state

    def touch_context(self, fingerprint: str) -> None:
        """Mark the state of a context as changed."""
        if fingerprint in self._state.contexts:
            self._state.touched_contexts.add(fingerprint)
        else:
            self._retired.touch(fingerprint)

    def name_in_committee(self, series: SeriesKey) -> str:
        """The domain by which classifiers know a response: those of domains that left count in `OVERFLOW_DOMAIN`."""
        return series.domain if series in self._state.domains else OVERFLOW_DOMAIN

    # --- a response arrives

    def bring_context(self, fingerprint: str) -> ContextState | None:
        """Make room for a context that is not live; returns its state where it had left."""
        while len(self._state.contexts) >= self._batch.settings.max_fingerprints:
            self._retire_context(self._longest_silent_context())
        context = self._retired.context(fingerprint, self._batch.memory)
        if context is not None:
            self._retired.remove(fingerprint)
            self._state.counters["contexts_returned"] += 1
        return context

    def bring_domain(self, domain: str, fingerprint: str) -> DomainState:
        """The live state of a domain in a live context, for a new response."""
        series = SeriesKey(self._admitted(domain), fingerprint)
        self._state.silent.pop(series.domain, None)
        if series in self._state.domains:
            return self._state.touched(series)
        retired = self._retired.domain(series, self._batch.memory)
        if retired is None:
            return self._live(self._state.new_domain(series))
        self._retired.remove(series)
        self._state.counters["domains_returned"] += 1
        if retired.learned is not None:
            self._state.contexts[fingerprint].committee.give_domain(series.domain, retired.learned)
            self._state.touched_contexts.add(fingerprint)
        return self._live(retired.state)

    def _live(self, domain: DomainState) -> DomainState:
        """Make a domain live, with the window and the newest estimate that it has where it left or was forgotten."""
        domain.rebuild(self._state.open_end(domain.series), self._batch.memory, self._batch.newest_estimate)
        # its open windows, which may have been estimated meanwhile, are those of a live domain again
        for end in self._open_ends(domain):
            if estimate := self._batch.newest_estimate(estimate_key(domain.series, end)):
                domain.last_estimate = estimate
            self._state.forget_open(domain.series, end)
        return self._state.add_domain(domain)

    def _admitted(self, domain: str) -> str:
        """The domain itself, or `OVERFLOW_DOMAIN` while all domains that are live are busy."""
        state = self._state
        if domain == OVERFLOW_DOMAIN or domain in state.names:
            return domain
        if len(state.names) >= self._batch.settings.max_domains:
            if state.silent_at != state.boundary:
                state.silent, state.silent_at = dict.fromkeys(self._silent_domains()), state.boundary
            if not state.silent:
                state.counters["domain_overflow"] += 1
                return OVERFLOW_DOMAIN
            silent = next(iter(state.silent))
            del state.silent[silent]
            contexts = [SeriesKey(silent, fingerprint) for fingerprint in state.contexts]
            self._retire_domains([series for series in contexts if series in state.domains])
            state.counters["domains_retired"] += 1
        return domain

    def _silent_domains(self) -> list[str]:
        """The domains without a response since the last boundary, silent longest first."""
        newest: dict[str, tuple[int, float]] = {}
        for (name, *_), domain in self._state.domains.items():
            if name != OVERFLOW_DOMAIN:
                newest[name] = max(newest.get(name, _NEVER), (domain.last_response, domain.last_boundary))
        in_order = sorted(newest, key=lambda name: (newest[name], name))
        return [name for name in in_order if newest[name][1] < self._state.boundary]

    def _longest_silent_context(self) -> str:
        state = self._state
        newest = dict.fromkeys(state.contexts, _NEVER[0])
        for series, domain in state.domains.items():
            newest[series.fingerprint] = max(newest[series.fingerprint], domain.last_response)
        return min(newest, key=lambda fingerprint: (newest[fingerprint], state.contexts[fingerprint].number))

    # --- leaving

    def _retire_context(self, fingerprint: str) -> None:
        state = self._state
        self._retire_domains([series for series in state.domains if series.fingerprint == fingerprint])
        self._retired.add_context(fingerprint, state.contexts.pop(fingerprint), self._next_number())
        state.touched_contexts.discard(fingerprint)
        state.remove_watch(fingerprint)
        state.counters["contexts_retired"] += 1
        state.silent_at = math.nan  # a domain may now be silent for longer
        if len(self._retired.contexts) > self._batch.settings.max_fingerprints:
            self._forget_context(next(iter(self._retired.contexts)))

    def _retire_domains(self, leaving: list[SeriesKey]) -> None:
        self._batch.before_emit()  # responses of this batch come into their windows first
        for series in sorted(leaving):
            domain = self._state.remove_domain(series)
            self._mark_open_windows(domain)
            domain.leave()
            committee = self._state.contexts[series.fingerprint].committee
            learned = committee.take_domain(series.domain)
            if learned is not None:
                self._state.touched_contexts.add(series.fingerprint)
            self._retire(series, RetiredDomain(domain, learned))

    def _retire(self, series: SeriesKey, domain: RetiredDomain) -> None:
        self._retired.add_domain(series, domain, self._next_number())
        settings = self._batch.settings
        if len(self._retired.domains) > settings.max_domains * settings.max_fingerprints:
            self._retired.remove(next(iter(self._retired.domains)))
            self._state.counters["domains_forgotten"] += 1

    def _mark_open_windows(self, domain: DomainState) -> None:
        """Let the responses that are in no estimate yet be estimated when their window closes."""
        last, window_s = domain.last_estimate, self._batch.settings.windows.window_s
        for end in self._open_ends(domain):
            is_new = domain.is_changed or last is None or end > last.window_end
            if is_new and domain.window.has_rows(end - window_s, end):
                self._state.mark_open(domain.series, end)

    def _open_ends(self, domain: DomainState) -> list[float]:
        """The next boundary, the open one, and the one after the newest response where that is later."""
        next_end = self._state.open_end(domain.series)
        ends = {next_end, self._state.boundary}
        if len(domain.window):
            ends.add(self._batch.settings.windows.boundary_after(domain.window.newest(1, ())))
        return sorted(end for end in ends if end >= next_end)

    def _forget_context(self, fingerprint: str) -> None:
        self._retired.remove(fingerprint)
        self._state.counters["contexts_forgotten"] += 1
        for series in [series for series in self._retired.domains if series.fingerprint == fingerprint]:
            self._retired.remove(series)
            self._state.counters["domains_forgotten"] += 1

    def _next_number(self) -> int:
        self._state.counters["retired"] += 1
        return self._state.counters["retired"]


_NEVER = (-2, -math.inf)
