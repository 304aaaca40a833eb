"""Counts over the tokens of a signal: usable and missing log-probabilities, alternatives, tail mass, problems.

The counts of all pieces of a response sum to those of the whole response.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN, Signal
from driftgauge.models.signals.entropy import sums_of, tail_mass

_SAME = 1e-3
"""Difference of two log-probabilities that are taken as those of one token."""

_SEGMENTS = {SEGMENT_UNKNOWN: "unknown", SEGMENT_REASONING: "reasoning", SEGMENT_ANSWER: "answer"}


class ObservedK(NamedTuple):
    """The number of alternatives that was asked for, as far as a response shows it.

    ``may_be_less``: or one less, because the chosen token is the last alternative at every position. Servers append the
    chosen token to the k likeliest where it is not one of them.
    """

    k: int
    may_be_less: bool = False


@dataclass(frozen=True, slots=True)
class SignalCounts:
    """Counts over the tokens of a response.

    Attributes
    ----------
    n_tokens : generated tokens with an entry; each is usable, censored or missing
    n_logprobs, n_censored, n_missing : tokens whose logprob is usable, censored or missing
    logprob_sum : sum of the usable logprobs of chosen tokens, in nats
    tail_mass_sum, n_tail_mass : sum of the tail mass, and number of the positions with alternatives
    alternatives : number of usable alternatives at a position -> number of such positions
    segments : name of a segment -> number of its tokens
    problems : reason -> number of problems that the normaliser found
    end_with_chosen : as ``alternatives``, of the positions whose least likely alternative is the chosen token
    """

    n_tokens: int = 0
    n_logprobs: int = 0
    n_censored: int = 0
    n_missing: int = 0
    logprob_sum: float = 0.0
    tail_mass_sum: float = 0.0
    n_tail_mass: int = 0
    alternatives: Counter[int] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    end_with_chosen: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: SignalCounts) -> SignalCounts:
        return SignalCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def k(self) -> tuple[int, int] | None:
        """Fewest and most usable alternatives of a position; None without positions."""
        return (min(self.alternatives), max(self.alternatives)) if self.alternatives else None

    @property
    def observed_k(self) -> ObservedK | None:
        """The same as `observed_k` of the signal that was counted."""
        return _observed(self.alternatives, self.end_with_chosen, self.problems["chosen_not_listed"])

    @property
    def mean_logprob(self) -> float | None:
        """Mean logprob, in nats, of the chosen tokens that are neither censored nor missing; None without such."""
        return self.logprob_sum / self.n_logprobs if self.n_logprobs else None

    @property
    def mean_tail_mass(self) -> float | None:
        """Mean probability outside the listed alternatives, in [0, 1]; None without positions with alternatives."""
        return self.tail_mass_sum / self.n_tail_mass if self.n_tail_mass else None


def count(signal: Signal) -> SignalCounts:
    """The counts of one signal.

    >>> counts = count(Signal(chosen_logprobs=np.array([-0.5, np.nan, -1.5])))
    >>> counts.n_logprobs, counts.n_missing, counts.mean_logprob
    (2, 1, -1.0)
    """
    n, chosen = signal.n_tokens, signal.chosen_logprobs
    usable = np.zeros(n, dtype=bool) if chosen is None else ~np.isnan(chosen)
    if signal.censored is not None:
        usable &= ~signal.censored
    n_logprobs = int(usable.sum())
    sums = sums_of(signal)
    tail = np.empty(0) if sums is None else tail_mass(sums)
    n_tail = int((~np.isnan(tail)).sum())
    return SignalCounts(
        n_tokens=n,
        n_logprobs=n_logprobs,
        n_censored=signal.n_censored,
        n_missing=n - n_logprobs - signal.n_censored,
        logprob_sum=0.0 if chosen is None else float(chosen[usable].sum(dtype=np.float64)),
        tail_mass_sum=float(np.nansum(tail, dtype=np.float64)),
        n_tail_mass=n_tail,
        alternatives=_alternatives(signal),
        segments=_segments(signal),
        problems=Counter(signal.problems),
        end_with_chosen=_ending_with_chosen(signal),
    )


def _alternatives(signal: Signal) -> Counter[int]:
    top = signal.top_logprobs
    if top is None:
        return Counter({0: signal.n_tokens} if signal.n_tokens else {})
    if not np.isnan(top[:, -1]).any():  # rows are sorted, NaN last
        return Counter({top.shape[1]: len(top)})
    return Counter(dict(enumerate(np.bincount((~np.isnan(top)).sum(axis=1)).tolist()))) - Counter()


def _segments(signal: Signal) -> Counter[str]:
    if signal.segments is None:
        return Counter({"unknown": signal.n_tokens} if signal.n_tokens else {})
    found = np.bincount(signal.segments, minlength=3).tolist()
    return Counter({name: found[segment] for segment, name in _SEGMENTS.items() if found[segment]})


def _ending_with_chosen(signal: Signal) -> Counter[int]:
    """The numbers of alternatives of the positions that list the chosen token last; a censored token is not listed."""
    top, chosen = signal.top_logprobs, signal.chosen_logprobs
    if top is None or chosen is None or not top.size:
        return Counter()
    n_listed = np.full(len(top), top.shape[1])
    if np.isnan(top[:, -1]).any():
        n_listed = (~np.isnan(top)).sum(axis=1)
    last = top[np.arange(len(top)), np.maximum(n_listed, 1) - 1]
    is_last = np.abs(chosen.astype(top.dtype) - last) <= _SAME  # false for NaN
    if signal.censored is not None:
        is_last &= ~signal.censored
    return Counter(n_listed[is_last].tolist())


def observed_k(signal: Signal) -> ObservedK | None:
    """The usual number of alternatives, without a chosen token that was appended; None without alternatives.

    >>> top = np.log(np.array([[0.5, 0.2, 0.1], [0.6, 0.2, np.nan]]))
    >>> observed_k(Signal(chosen_logprobs=np.log([0.1, 0.6]), top_logprobs=top))
    ObservedK(k=2, may_be_less=False)
    >>> observed_k(Signal(chosen_logprobs=np.log([0.1]), top_logprobs=top[:1]))
    ObservedK(k=3, may_be_less=True)
    """
    if signal.top_logprobs is None:
        return None
    return _observed(_alternatives(signal), _ending_with_chosen(signal), signal.problems.get("chosen_not_listed", 0))


def _observed(alternatives: Counter[int], end_with_chosen: Counter[int], n_added: int) -> ObservedK | None:
    """``n_added`` is the number of positions to which the normaliser added the chosen token."""
    known = Counter({k: n for k, n in alternatives.items() if k})
    if not known:
        return None
    certain = known - end_with_chosen
    if not certain:
        k = min(known)
        return ObservedK(k, may_be_less=len(known) == 1 and k > 1)
    k = max(certain, key=lambda k: (certain[k], k))
    return ObservedK(k - (2 * n_added > certain.total()))
