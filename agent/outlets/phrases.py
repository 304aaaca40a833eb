"""Numbers and names as people read them, in tables, charts and sentences. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def count(n: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "label"), count(1200, "label")
    ('1 label', '1,200 labels')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def counts(found: Counter[str]) -> str:
    """Names with their numbers, the largest first.

    >>> counts(Counter({"too_large": 2, "malformed": 1200}))
    'malformed 1,200, too_large 2'
    """
    return ", ".join(f"{name} {n:,}" for name, n in found.most_common())


def names(found: Iterable[str], most: int) -> str:
    """The first ``most`` names, and the number of the others.

    >>> names(["art", "law", "tax"], most=2)
    'art, law and 1 more'
    """
    known = list(found)
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")


def ratio(value: float | None) -> str:
    """Two decimals; a dash when the value is unknown."""
    return "–" if value is None else f"{value:.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Both ends; a dash when they are unknown."""
    return "–" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"
