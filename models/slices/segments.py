"""The segments of a domain that a search looks at: the values of each name that events carry, and of pairs of names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from driftgauge.models.arrays import Bools, Float64s, Strings
from driftgauge.models.series import SeriesKey
from driftgauge.models.slices.grouping import Indices, Slices, slice_name

MAX_NAMES = 10
"""Names that are looked at, the most frequent ones; they form 45 pairs."""

MAX_SEGMENTS = 1_000
"""Segments of one search over all domains, the largest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Segments of one domain and what is known of its n responses.

    Attributes
    ----------
    series : the domain and its context
    value : (n,) in [0, 1], labels or predictions
    weight : (n,) 1 / inclusion probability of the labels, up to a factor
    names : of the m segments
    inside : (n, m) which response is in which segment
    ids : (n,) of the responses
    """

    series: SeriesKey
    value: Float64s
    weight: Float64s
    names: tuple[str, ...]
    inside: Bools
    ids: Strings

    def worst(self, name: str, most: int) -> tuple[str, ...]:
        """Ids of the responses in a segment with the lowest values; of equal ones the last."""
        at = np.flatnonzero(self.inside[:, self.names.index(name)])[::-1]
        order = at[np.argsort(self.value[at], kind="stable")]
        return tuple(str(self.ids[i]) for i in order[:most])


def segments_of(
    series: SeriesKey, value: Float64s, weight: Float64s, rows: Sequence[Slices], least: int, ids: Strings | None = None
) -> Segments:
    """All segments with at least ``least`` responses inside and as many outside.

    Of segments that hold the same responses only the first is kept.

    Parameters
    ----------
    value, weight : (n,) what is compared, and its weight, of n responses
    rows : the slices of each response
    ids : (n,) of the responses; None: their numbers

    Examples
    --------
    >>> rows = [{"language": "de"}, {"language": "de"}, {"language": "en", "tenant": "a"}, {"language": "en"}]
    >>> segments_of(SeriesKey("law", "f"), np.ones(4), np.ones(4), rows, least=1).names
    ('language=de', 'language=en', 'tenant=a')
    """
    found: dict[bytes, tuple[str, Bools]] = {}
    for name, inside in _every(rows, least):
        if inside.sum() <= len(rows) - least:
            found.setdefault(inside.tobytes(), (name, inside))
    columns = [inside for _, inside in found.values()]
    table = np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), dtype=np.bool_)
    names = tuple(name for name, _ in found.values())
    return Segments(series, value, weight, names, table, np.arange(len(rows)).astype(np.str_) if ids is None else ids)


def largest(groups: Sequence[Segments], most: int = MAX_SEGMENTS) -> list[Segments]:
    """The groups with only the ``most`` largest segments of all of them; groups left without a segment are dropped."""
    sizes = np.concatenate([np.empty(0), *(group.inside.sum(axis=0) for group in groups)])
    if len(sizes) > most:
        kept = np.zeros(len(sizes), dtype=np.bool_)
        kept[np.argsort(-sizes, kind="stable")[:most]] = True
        parts = np.split(kept, np.cumsum([len(group.names) for group in groups])[:-1])
        groups = [_with(group, part) for group, part in zip(groups, parts, strict=True)]
    return [group for group in groups if group.names]


def _with(group: Segments, kept: Bools) -> Segments:
    names = tuple(itertools.compress(group.names, kept))
    return replace(group, names=names, inside=group.inside[:, kept])


class _Column(NamedTuple):
    """The values of one name: (n,) the number of the value of each response, -1 for rare values and without one."""

    name: str
    values: list[str]
    codes: Indices


def _every(rows: Sequence[Slices], least: int) -> Iterator[tuple[str, Bools]]:
    counts = Counter(name for carried in rows for name in carried)
    names = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_NAMES]
    columns = [_column(rows, name, least) for name in sorted(names)]
    for column in columns:
        for code, value in enumerate(column.values):
            yield slice_name((column.name,), (value,)), column.codes == code
    for one, other in itertools.combinations(columns, 2):
        has_both, pair = (one.codes >= 0) & (other.codes >= 0), one.codes * len(other.values) + other.codes
        for code in np.flatnonzero(np.bincount(pair[has_both]) >= least).tolist():
            i, j = divmod(code, len(other.values))
            yield slice_name((one.name, other.name), (one.values[i], other.values[j])), has_both & (pair == code)


def _column(rows: Sequence[Slices], name: str, least: int) -> _Column:
    counts = Counter(carried[name] for carried in rows if name in carried)
    values = sorted(value for value, n in counts.items() if n >= least)
    numbers = {value: number for number, value in enumerate(values)}
    codes = [numbers.get(carried[name], -1) if name in carried else -1 for carried in rows]
    return _Column(name, values, np.array(codes, dtype=np.intp))
