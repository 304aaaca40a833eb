"""The label list of one domain: drawn responses as requests, and what became of earlier requests.

A response can be drawn at one time only, at the end of the period in which it was generated, so its inclusion
probability is exact. Requests without a label do not come again: newer responses are asked for in their place.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.sampling import DEFAULT_PLAN, Plan, draw
from driftgauge.models.arrays import Float64s
from driftgauge.models.outputs import LabelList
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """When label lists are made, how long they are, and what is on them.

    Attributes
    ----------
    period_s : seconds of event time from one list to the next, at least the hop
    budget : labels of a period; its ``n`` is 0 where no lists are wanted
    n_in_all : requests over the life of the store; 0: any number
    within : how responses of one domain are drawn
    expires_after : periods until a request without a label is given up
    link : template of the link of a request, with {response_id} and {domain}; empty: none
    seed : of all draws
    """

    period_s: float = 86_400.0
    budget: Budget = field(default_factory=lambda: Budget(200))
    n_in_all: int = 0
    within: Plan = DEFAULT_PLAN
    expires_after: int = 7
    link: str = ""
    seed: int = 0

    def end_before(self, time: float) -> float:
        """The end of the period that holds the moment before this time.

        >>> LabelPlan(period_s=60.0).end_before(60.0), LabelPlan(period_s=60.0).end_before(61.0)
        (60.0, 120.0)
        """
        return math.ceil(time / self.period_s) * self.period_s

    def end_after(self, time: float) -> float:
        """The end of the period that holds this time.

        >>> LabelPlan(period_s=60.0).end_after(60.0)
        120.0
        """
        return (math.floor(time / self.period_s) + 1) * self.period_s


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of requests that have expired.

    Attributes
    ----------
    n_asked, n_answered : requests, and those with a label that counts
    p_answered, p_unanswered : mean ``p_correct`` of the responses with and without a label; None: unknown. Where they
        differ, labels are missing for a reason that has to do with correctness
    """

    n_asked: int = 0
    n_answered: int = 0
    p_answered: float | None = None
    p_unanswered: float | None = None

    @property
    def n_missing(self) -> int:
        """Requests without a label."""
        return self.n_asked - self.n_answered


def answers(expired: Sequence[LabelList], stored: Mapping[str, ResponseRow]) -> Answers:
    """Count the labels of expired lists.

    Parameters
    ----------
    expired : lists whose time is over
    stored : their responses by id; one that was deleted since counts as answered, because nothing is known of it
    """
    p_correct: dict[bool, list[float]] = {True: [], False: []}
    n_asked = n_answered = 0
    for request in (request for made in expired for request in made.requests):
        row = stored.get(request.response_id)
        is_answered = row is None or counts(row)
        n_asked += 1
        n_answered += is_answered
        if request.p_correct is not None:
            p_correct[is_answered].append(request.p_correct)
    return Answers(n_asked, n_answered, _mean(p_correct[True]), _mean(p_correct[False]))


def counts(row: ResponseRow) -> bool:
    """Whether a response has a label that counts in estimates, and not only one that teaches."""
    return not math.isnan(row.correct) and row.weight > 0


def seed_of(seed: int, series: SeriesKey, period_end: float) -> int:
    """A seed for one list, another one for each series and period.

    >>> seed_of(0, SeriesKey("law", "0a1b"), 60.0) == seed_of(0, SeriesKey("law", "0a1b"), 120.0)
    False
    """
    name = repr((seed, *series, period_end)).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def drawn(
    plan: Plan, n: int, *, surprisal: Float64s, p_correct: Float64s, kept: float, seed: int
) -> list[tuple[int, float]]:
    """The responses of one list, in random order: index and inclusion probability of each.

    Any beginning of the list is a random sample too.

    Parameters
    ----------
    plan, n, surprisal, p_correct : see `sampling.draw`
    kept : share of the responses of the period that these are, in (0, 1]: a random sample of them

    Examples
    --------
    >>> signal = np.arange(4.0)
    >>> sorted(drawn("uniform", 4, surprisal=signal, p_correct=signal / 4, kept=0.5, seed=0))
    [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)]
    """
    indices, probability = draw(plan, n, surprisal=surprisal, p_correct=p_correct, seed=seed)
    order = np.random.default_rng([seed, 1]).permutation(indices)
    return [(int(i), float(probability[i]) * kept) for i in order]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
