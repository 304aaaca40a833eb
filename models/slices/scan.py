"""Weak segments: those where responses are wrong more often than in the rest of their domain.

This is the scan statistic of Kulldorff (1997, *A spatial scan statistic*) over slices. A segment scores the logarithm
of the likelihood ratio of two accuracies, inside and outside, to one. The largest score of all segments is compared
with the largest scores after the responses of every domain are shuffled among its slices. So the search is right about
all segments together, however many there are and however they overlap: with probability ``level`` at most it lists a
segment that is as good as the rest. It assumes that, where no segment is weak, the slices of a response tell nothing
of its value and weight. Bounded: `MAX_SEGMENTS`; the work is values x segments x `SHUFFLES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from driftgauge.models.arrays import Bools, Float64s
from driftgauge.models.series import SeriesKey
from driftgauge.models.slices.segments import Segments

SHUFFLES = 499
MIN_GAP = 0.05
"""Difference of two accuracies that is worth telling."""

_FLOOR = 1e-9


@dataclass(frozen=True, slots=True)
class Weak:
    """A weak segment.

    Attributes
    ----------
    series : its domain, context and slice
    inside, outside : mean value in the segment, and in the rest of the domain
    n : values in the segment
    p_value : probability of a score this large in any segment, where all are equal
    """

    series: SeriesKey
    inside: float
    outside: float
    n: int
    p_value: float


def weak_segments(groups: Sequence[Segments], level: float, least: int, seed: int) -> list[Weak]:
    """The weak segments of all domains, the surest first.

    A segment that is weak only because of one that is listed before it is left out: without the responses of that one
    it must still score enough.

    Parameters
    ----------
    level : probability of listing any segment that is as good as the rest of its domain, at least 1 / 500
    least : values that a segment needs without those of listed segments

    Examples
    --------
    >>> from driftgauge.models.slices.segments import segments_of
    >>> inside = np.arange(200) < 50
    >>> value = np.where(inside, 0.0, 1.0)
    >>> rows = [{"language": "de"} if one else {} for one in inside]
    >>> domain = segments_of(SeriesKey("law", "f"), value, np.ones(200), rows, least=20)
    >>> [(weak.series.slice, weak.n, weak.p_value) for weak in weak_segments([domain], 0.01, 20, seed=0)]
    [('language=de', 50, 0.002)]
    """
    if not groups:
        return []
    highest = np.sort(np.max([_shuffled(group, seed + i) for i, group in enumerate(groups)], axis=0))
    scores = [_scores(group.inside, group.value[:, None], group.weight[:, None])[0][:, 0] for group in groups]
    order = sorted(
        ((float(score), i, j) for i, of_group in enumerate(scores) for j, score in enumerate(of_group)),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    listed: list[Weak] = []
    left = [np.ones(len(group.value), dtype=np.bool_) for group in groups]
    for score, i, j in order:
        if _p_value(score, highest) > level:
            break
        if (weak := _alone(groups[i], j, left[i], highest, level, least)) is not None:
            listed.append(weak)
            left[i] &= ~groups[i].inside[:, j]
    return listed


def _alone(group: Segments, j: int, left: Bools, highest: Float64s, level: float, least: int) -> Weak | None:
    """The segment, if it is weak also without the responses of listed ones."""
    inside, value, weight = group.inside[left, j], group.value[left, None], group.weight[left, None]
    n = int(inside.sum())
    if n < least or n == len(inside):
        return None
    score, mean = _scores(inside[:, None], value, weight)
    p_value = _p_value(float(score[0, 0]), highest)
    low, high = float(mean[0, 0]), float(np.average(value[~inside, 0], weights=weight[~inside, 0]))
    if p_value > level or high - low < MIN_GAP:
        return None
    return Weak(group.series._replace(slice=group.names[j]), low, high, n, p_value)


def _p_value(score: float, highest: Float64s) -> float:
    n_higher = len(highest) - int(np.searchsorted(highest, score - 1e-6, side="left"))
    return (1 + n_higher) / (1 + len(highest))


def _shuffled(group: Segments, seed: int) -> Float64s:
    """(`SHUFFLES`,) the highest score in each of so many shuffles of the responses."""
    n = len(group.value)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (SHUFFLES, 1)), axis=1).T
    weight = group.weight[order] if np.ptp(group.weight) else group.weight[:, None]  # equal ones need no shuffling
    return np.asarray(_scores(group.inside, group.value[order], weight)[0].max(axis=0))


def _scores(inside: Bools, value: Float64s, weight: Float64s) -> tuple[Float64s, Float64s]:
    """(m, k) scores of m segments, and mean values inside, for (n, k) values; weights are (n, k) or (n, 1).

    A sum of weights stands for the number (sum w)^2 / sum w^2 of equal ones (Kish).
    """
    members = csr_matrix(inside.T, dtype=np.float64)
    w, wy, ww = (_Sums.of(members, part) for part in (weight, weight * value, weight * weight))
    mean, mean_in, mean_out = wy.total / w.total, wy.inside / w.inside, wy.outside / w.outside
    n_in, n_out = w.inside**2 / ww.inside, w.outside**2 / ww.outside
    gain = n_in * _divergence(mean_in, mean) + n_out * _divergence(mean_out, mean)
    return np.where(mean_in < mean_out, gain, 0.0), mean_in


class _Sums(NamedTuple):
    """Sums over the responses inside and outside of m segments (m, k), and over all (k,)."""

    inside: Float64s
    outside: Float64s
    total: Float64s

    @classmethod
    def of(cls, members: csr_matrix[Any], part: Float64s) -> _Sums:
        total = part.sum(axis=0)
        within = np.asarray(members @ part)
        return cls(within, total - within, total)


def _divergence(mean: Float64s, expected: Float64s) -> Float64s:
    """Kullback and Leibler's divergence of two accuracies, in nats."""
    mean = np.clip(mean, _FLOOR, 1 - _FLOOR)
    expected = np.clip(expected, _FLOOR, 1 - _FLOOR)
    return np.asarray(mean * np.log(mean / expected) + (1 - mean) * np.log((1 - mean) / (1 - expected)))
