"""How a budget of labels is divided among domains: a number for each, and an order.

Memory and time are linear in the number of domains D, but for one sort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from driftgauge.models.arrays import Float64s, Int64s

Across: TypeAlias = Literal["width", "equal", "shortfall"]
"""By what the labels beyond the base are divided; see `allocate`."""


@dataclass(frozen=True, slots=True)
class Need:
    """What decides how many labels one domain gets.

    Attributes
    ----------
    width : of the interval of its accuracy, in (0, 1]; 1 without an estimate
    n_labels : labels that count already, at least 0
    n_responses : responses that could be labelled, at least 0
    shortfall : how far accuracy may lie below the target, in [0, 1]; 1 without an estimate
    traffic : responses, or another measure that is the same for all domains
    """

    width: float
    n_labels: int
    n_responses: int
    shortfall: float = 1.0
    traffic: float = 1.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How many labels there may be.

    Attributes
    ----------
    n : in all
    per_domain : for each domain, in place of a division by ``across``; 0: divided
    base : labels that every domain gets first, those that it has included
    target_width : an interval as narrow as this needs no more labels; 0: there is always need
    across : what the rest is divided by: ``width`` of the interval, ``equal``, or ``shortfall``, which is
        traffic x shortfall x width
    """

    n: int
    per_domain: int = 0
    base: int = 10
    target_width: float = 0.0
    across: Across = "width"


def allocate(needs: Sequence[Need], budget: Budget) -> Int64s:
    """Divide a budget of labels among domains.

    Every domain gets the base first, the one with the widest interval first. The rest is divided in proportion to
    ``budget.across``. No domain gets more than it has responses, nor more than its target width is expected to need:
    the width of an interval falls with the square root of the number of labels.

    Returns
    -------
    (D,) labels of each domain; their sum is at most ``budget.n``.

    Examples
    --------
    >>> wide, narrow = Need(width=0.4, n_labels=0, n_responses=500), Need(width=0.1, n_labels=30, n_responses=500)
    >>> allocate([narrow, wide], Budget(60)).tolist(), allocate([narrow, wide], Budget(6)).tolist()
    ([10, 50], [0, 6])
    """
    most = np.array([_most(need, budget) for need in needs], dtype=np.int64)
    if budget.per_domain:
        return _widest_first(needs, np.minimum(most, budget.per_domain), budget.n)
    missing = np.array([max(budget.base - need.n_labels, 0) for need in needs], dtype=np.int64)
    first = _widest_first(needs, np.minimum(most, missing), budget.n)
    size = np.array([_size(need, budget.across) for need in needs])
    return first + _in_proportion(size, most - first, budget.n - int(first.sum()))


def by_width(needs: Sequence[Need]) -> list[int]:
    """The indices of the domains, the one with the widest interval first; of equal ones the first."""
    return sorted(range(len(needs)), key=lambda i: (-needs[i].width, i))


def _most(need: Need, budget: Budget) -> int:
    if not budget.target_width:
        return need.n_responses
    ratio = need.width / budget.target_width
    if ratio <= 1:
        return 0
    has = max(need.n_labels, budget.base)
    return min(need.n_responses, math.ceil(has * ratio**2) - need.n_labels)


def _size(need: Need, across: Across) -> float:
    if across == "equal":
        return 1.0
    return need.width if across == "width" else need.traffic * need.shortfall * need.width


def _widest_first(needs: Sequence[Need], wanted: Int64s, n: int) -> Int64s:
    """What each domain wants, as far as ``n`` lasts."""
    given = np.zeros(len(needs), dtype=np.int64)
    for i in by_width(needs):
        given[i] = min(int(wanted[i]), n - int(given.sum()))
    return given


def _in_proportion(size: Float64s, most: Int64s, n: int) -> Int64s:
    """(D,) whole numbers in proportion to ``size`` and at most ``most``, with the largest sum up to ``n``."""
    n = min(n, int(most[size > 0].sum()))
    given, is_open = np.zeros(len(size)), (size > 0) & (most > 0)
    while is_open.any():
        left = n - given[~is_open].sum()
        given[is_open] = left * size[is_open] / size[is_open].sum()
        is_full = is_open & (given >= most)
        if not is_full.any():
            break
        given[is_full] = most[is_full]
        is_open &= ~is_full
    whole = np.floor(given + 1e-9).astype(np.int64)
    largest_rest = np.argsort(whole - given, kind="stable")[: max(n - int(whole.sum()), 0)]
    whole[largest_rest] += 1
    return whole
