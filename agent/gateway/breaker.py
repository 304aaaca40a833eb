"""Which kinds of request may be asked for log-probabilities. Deterministic: time is passed in.

A kind is whatever makes a server answer differently: model, endpoint, stream or not, with tools, with a format. Asking
a server that refuses, ignores or does not survive it is of no use, so asking for that kind pauses. After the pause one
request tries again. Each further failure doubles the pause, up to `LONGEST_PAUSE_S`.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["got", "not_got", "refused", "failed"]
"""Of a request that was asked: log-probabilities came; an answer without them; 400 or 422 where the client's own bytes
were accepted; 5xx, or no answer."""

IGNORED_IN_A_ROW = 20
"""Answers without log-probabilities, one after the other, upon which asking pauses."""

FAILED_IN_A_ROW = 5
"""Failures, one after the other, upon which asking pauses."""

MIN_FAILURES, MIN_UNASKED, SIGNIFICANCE = 5, 20, 3.0
"""Asking also pauses when asked requests fail more often than others: by three standard errors, with at least this many
failures and requests that were not asked."""

LONGEST_PAUSE_S = 86_400.0
MAX_KINDS = 1_000
"""Kinds that are remembered; beyond that the one that was used longest ago is forgotten."""

_MEMORY = 500
"""Requests over which failures are counted, approximately."""


@dataclass(slots=True)
class _Rate:
    n: float = 0.0
    failures: float = 0.0

    def note(self, failed: bool) -> None:
        self.n += 1
        self.failures += failed
        if self.n > _MEMORY:
            self.n, self.failures = self.n / 2, self.failures / 2


@dataclass(slots=True)
class _Kind:
    opened_at: float = -math.inf
    retry_at: float = -math.inf
    pause_s: float = 0.0
    reason: str = ""
    in_a_row: Counter[str] = field(default_factory=Counter)
    asked: _Rate = field(default_factory=_Rate)
    unasked: _Rate = field(default_factory=_Rate)


class Breaker:
    """Remembers how the server took being asked, by kind of request.

    Parameters
    ----------
    pause_s : seconds of the first pause of a kind

    Examples
    --------
    >>> breaker = Breaker(pause_s=600)
    >>> breaker.may_ask("chat with tools", now=0)
    True
    >>> breaker.note("chat with tools", "refused", asked_at=0, now=1)
    >>> [breaker.may_ask("chat with tools", now=now) for now in (2, 600, 601, 602)]
    [False, False, True, False]
    >>> breaker.note("chat with tools", "got", asked_at=601, now=603)
    >>> breaker.may_ask("chat with tools", now=604)
    True
    """

    def __init__(self, pause_s: float = 600.0) -> None:
        self.pause_s = pause_s
        self.pauses: Counter[str] = Counter()
        """Pauses so far, by the `Outcome` that caused them."""
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def may_ask(self, kind: Hashable, *, now: float) -> bool:
        """Whether a request of this kind may be asked now; after a pause True once, and the next only a pause later."""
        found = self._kind(kind)
        if not found.reason:
            return True
        if now < found.retry_at:
            return False
        found.retry_at = now + found.pause_s
        return True

    def note(self, kind: Hashable, outcome: Outcome, *, asked_at: float, now: float) -> None:
        """Note the outcome of a request that was asked at ``asked_at``, the time given to `may_ask`."""
        found = self._kind(kind)
        if asked_at <= found.opened_at:  # it says nothing about the time after the pause
            return
        found.asked.note(outcome == "failed")
        if outcome == "got":
            found.reason, found.pause_s, found.in_a_row = "", 0.0, Counter()
            return
        found.in_a_row = Counter({outcome: found.in_a_row[outcome] + 1})
        if found.reason or self._is_enough(found, outcome):
            self._pause(found, outcome, now)

    def note_unasked(self, kind: Hashable, *, failed: bool) -> None:
        """Note the outcome of a request of this kind that was not asked: its failures have another cause."""
        self._kind(kind).unasked.note(failed)

    def paused(self) -> dict[Hashable, str]:
        """Kinds for which asking pauses, with the `Outcome` that caused it."""
        return {kind: found.reason for kind, found in self._kinds.items() if found.reason}

    def _kind(self, kind: Hashable) -> _Kind:
        found = self._kinds.setdefault(kind, _Kind())
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        return found

    def _is_enough(self, found: _Kind, outcome: Outcome) -> bool:
        if outcome == "refused":
            return True
        if outcome == "not_got":
            return found.in_a_row[outcome] >= IGNORED_IN_A_ROW
        return found.in_a_row[outcome] >= FAILED_IN_A_ROW or _fails_more_often(found.asked, found.unasked)

    def _pause(self, found: _Kind, outcome: Outcome, now: float) -> None:
        found.pause_s = min(max(2 * found.pause_s, self.pause_s), LONGEST_PAUSE_S)
        found.opened_at, found.retry_at, found.reason = now, now + found.pause_s, outcome
        found.in_a_row = Counter()
        self.pauses[outcome] += 1


def _fails_more_often(asked: _Rate, unasked: _Rate) -> bool:
    """Two proportions, with the pooled standard error (Agresti, Categorical Data Analysis, section 3.1)."""
    if asked.failures < MIN_FAILURES or unasked.n < MIN_UNASKED:
        return False
    pooled = (asked.failures + unasked.failures) / (asked.n + unasked.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / asked.n + 1 / unasked.n))
    return asked.failures / asked.n - unasked.failures / unasked.n > SIGNIFICANCE * error
