"""Counts over the tokens of a signal: usable and missing log-probabilities, alternatives, tail mass, problems.

The counts of all pieces of a response sum to those of the whole response.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN, Signal
from driftgauge.models.signals.entropy import sums_of, tail_mass

_SEGMENTS = {SEGMENT_UNKNOWN: "unknown", SEGMENT_REASONING: "reasoning", SEGMENT_ANSWER: "answer"}


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

    def __add__(self, other: SignalCounts) -> SignalCounts:
        return SignalCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def k(self) -> tuple[int, int] | None:
        """Fewest and most usable alternatives of a position; None without positions."""
        return (min(self.alternatives), max(self.alternatives)) if self.alternatives else None

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
    )


def usual_k(alternatives: Counter[int]) -> int | None:
    """The most frequent number of alternatives, the larger of two as frequent; None without alternatives."""
    return max((k for k in alternatives if k), key=lambda k: (alternatives[k], k), default=None)


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


def observed_k(signal: Signal) -> int | None:
    """The usual number of alternatives of a signal; None where it has none."""
    return None if signal.top_logprobs is None else usual_k(_alternatives(signal))
