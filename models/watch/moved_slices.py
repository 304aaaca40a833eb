"""Which slices of a domain moved most, once a change of the domain was detected: it describes, and detects nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from driftgauge.models.arrays import Bools, Float64s

MIN_ROWS = 10
"""Responses that a slice needs after the change; before it, as many, or else it counts as new."""

MIN_STANDARD_ERRORS = 4.0
MOST_NAMED = 2
MOST_SLICES = 1_000
"""Slices that are looked at; of more, those that came first."""


def moved_most(values: Float64s, is_after: Bools, slices: Sequence[Mapping[str, str]]) -> list[str]:
    """Slices in which the values moved clearly further than in the rest of the domain, the furthest first.

    Parameters
    ----------
    values : (n,) of the signal that moved, NaN where missing
    is_after : (n,) whether a response came after the change
    slices : (n,) what each response carries, value by name

    Examples
    --------
    >>> values = np.array([1.0, 1.1] * 40 + [1.0, 3.0] * 40)
    >>> slices = [{"language": "fr" if i % 2 else "de"} for i in range(160)]
    >>> moved_most(values, np.arange(160) >= 80, slices)
    ['language=fr']
    """
    known = np.isfinite(values)
    members: dict[str, list[int]] = defaultdict(list)
    for i in np.flatnonzero(known).tolist():
        for name, value in slices[i].items():
            key = f"{name}={value}"
            if key in members or len(members) < MOST_SLICES:
                members[key].append(i)
    found = [
        (score, key)
        for key, rows in members.items()
        if (score := _score(values, is_after, known, np.array(rows))) >= MIN_STANDARD_ERRORS
    ]
    return [key for _, key in sorted(found, key=lambda one: (-one[0], one[1]))[:MOST_NAMED]]


def _score(values: Float64s, is_after: Bools, known: Bools, rows: np.ndarray) -> float:
    """How much further than the rest the slice moved in the direction of all, in standard errors; 0: unknown."""
    is_in = np.zeros(len(values), dtype=bool)
    is_in[rows] = True
    before = values[known & ~is_after]
    after_in, after_out = values[is_in & is_after], values[known & ~is_in & is_after]
    before_in, before_out = values[is_in & ~is_after], values[known & ~is_in & ~is_after]
    if len(after_in) < MIN_ROWS or len(before) < MIN_ROWS:
        return 0.0
    base_in = before_in if len(before_in) >= MIN_ROWS else before
    rest = after_out.mean() - before_out.mean() if min(len(after_out), len(before_out)) >= MIN_ROWS else 0.0
    spread = max(float(values[known].std()), 1e-12)
    error = spread * math.sqrt(1 / len(after_in) + 1 / len(base_in))
    direction = 1.0 if values[known & is_after].mean() >= before.mean() else -1.0
    return float(direction * (after_in.mean() - base_in.mean() - rest) / error)
