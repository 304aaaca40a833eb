"""Contexts and domains that left: their names in memory, their state in the store until they return.

The state of one is read when a batch first uses it, and written at the end of the batch. Contexts that were read stay
in memory: the estimator of a restored context must be fitted again, and an import of old labels uses the same few
contexts in every batch.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from driftgauge.agent.core.context_state import ContextState, context_name
from driftgauge.agent.core.domain_state import DomainState, domain_name
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.memory import Memory
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.series import SeriesKey

CONTEXT = SavedFormat("context that left", since="0.2.0")
DOMAIN = SavedFormat("domain that left", since="0.2.0")


class RetiredDomain(NamedTuple):
    """A domain in a context that left, without its window, and what the classifiers of the context know of it alone."""

    state: DomainState
    learned: bytes | None


class Retired:
    """The contexts and domains that left.

    Attributes
    ----------
    contexts, domains : a number by fingerprint and by series; the one that left first has the lowest and comes first
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self.contexts: dict[str, int] = {}
        self.domains: dict[SeriesKey, int] = {}
        self._read_contexts: dict[str, ContextState] = {}
        self._read_domains: dict[SeriesKey, RetiredDomain] = {}
        self._left_now: set[str] = set()
        self._changed: set[str | SeriesKey] = set()

    @classmethod
    def resume(cls, settings: PipelineSettings, memory: Memory) -> Retired:
        """Read the names from the store."""
        new = cls(settings)
        for name, number in memory.retired_numbers().items():
            kind, fingerprint, *domain = name.split("/", 2)
            if kind == "context":
                new.contexts[fingerprint] = number
            else:
                new.domains[SeriesKey(domain[0], fingerprint)] = number
        return new

    def context(self, fingerprint: str, memory: Memory) -> ContextState | None:
        """The state of a context; None when it did not leave, or was forgotten."""
        if fingerprint not in self.contexts:
            return None
        if fingerprint not in self._read_contexts:
            saved = CONTEXT.unpack(_blob(memory, context_name(fingerprint)))
            self._read_contexts[fingerprint] = ContextState.restore(self.settings, saved)
        return self._read_contexts[fingerprint]

    def domain(self, series: SeriesKey, memory: Memory) -> RetiredDomain | None:
        """The state of a domain in a context; None when it did not leave, or was forgotten."""
        if series not in self.domains:
            return None
        if series not in self._read_domains:
            saved, learned = DOMAIN.unpack(_blob(memory, domain_name(series)))
            self._read_domains[series] = RetiredDomain(DomainState.restore(self.settings, saved), learned)
        return self._read_domains[series]

    def add_context(self, fingerprint: str, context: ContextState, number: int) -> None:
        """Keep the state of a context that leaves."""
        self.contexts[fingerprint] = number
        self._read_contexts[fingerprint] = context
        self._left_now.add(fingerprint)
        self.touch(fingerprint)

    def add_domain(self, series: SeriesKey, domain: RetiredDomain, number: int) -> None:
        """Keep the state of a domain that leaves."""
        self.domains[series] = number
        self._read_domains[series] = domain
        self.touch(series)

    def remove(self, name: str | SeriesKey) -> None:
        """Drop a context or a domain that returned or is forgotten."""
        if isinstance(name, SeriesKey):
            del self.domains[name]
            self._read_domains.pop(name, None)
        else:
            del self.contexts[name]
            self._read_contexts.pop(name, None)
        self.touch(name)

    def touch(self, name: str | SeriesKey) -> None:
        """Mark the state of a context or a domain as changed."""
        self._changed.add(name)

    def save(self, memory: Memory, live_contexts: Container[str], live_domains: Container[SeriesKey]) -> None:
        """Write what changed in a batch, and delete the live state of what is not live any more."""
        changed: dict[str, tuple[int, bytes] | None] = {}
        gone: dict[str, None] = {}
        for name in sorted(self._changed, key=str):
            if isinstance(name, SeriesKey):
                changed[domain_name(name)] = self._saved_domain(name)
                gone |= {} if name in live_domains else {domain_name(name): None}
            else:
                changed[context_name(name)] = self._saved_context(name)
                gone |= {} if name in live_contexts else dict.fromkeys(memory.state(f"{context_name(name)}/"))
        if changed:
            memory.save_retired(changed)
        if gone:
            memory.save_state(gone)
        for fingerprint in self._left_now:  # it knows parts as saved that are deleted now
            self._read_contexts.pop(fingerprint, None)
        self._left_now.clear()
        self._changed.clear()
        self._read_domains.clear()

    def _saved_context(self, fingerprint: str) -> tuple[int, bytes] | None:
        if fingerprint not in self.contexts:
            return None
        return self.contexts[fingerprint], CONTEXT.pack(self._read_contexts[fingerprint].snapshot())

    def _saved_domain(self, series: SeriesKey) -> tuple[int, bytes] | None:
        if series not in self.domains:
            return None
        state, learned = self._read_domains[series]
        return self.domains[series], DOMAIN.pack([state.snapshot(), learned])


def _blob(memory: Memory, name: str) -> bytes:
    found = memory.retired(name)
    if found is None:
        raise ValueError(f"the store has no retired state {name}")
    return found
