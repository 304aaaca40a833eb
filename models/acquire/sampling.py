"""Which responses of one domain to label: a seeded sample with known inclusion probabilities.

A weight of 1 / inclusion probability makes a weighted mean of the labels unbiased. Memory and time grow with the number
of responses N: one sort.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Bools, Float64s

Plan: TypeAlias = Literal["systematic", "uniform", "uncertainty"]

DEFAULT_PLAN: Plan = "systematic"

_STRATA = 4  # with seven, for 50 draws, errors were larger
_UNCERTAINTY_FLOOR = 0.3  # of the mean uncertainty, in case the classifier is wrongly sure


def draw(
    plan: Plan, n: int, *, surprisal: Float64s, p_correct: Float64s, seed: int
) -> tuple[npt.NDArray[np.intp], Float64s]:
    """Draw ``n`` of N responses without replacement.

    Parameters
    ----------
    plan : ``systematic``: at even distances in an order by both signals, ties in random order, all probabilities n / N;
        ``uniform``: at random, all probabilities n / N; ``uncertainty``: at random, with probabilities that follow
        sqrt(p (1 - p)), at least 0.3 of its mean
    n : at least 0; with n >= N every response is drawn, with probability 1
    surprisal : (N,) `surprisal_logits` of the responses; NaN comes last in the order
    p_correct : (N,) in [0, 1]; NaN comes last in the order, and counts as an average response for ``uncertainty``

    Returns
    -------
    (min(n, N),) indices in rising order; (N,) inclusion probabilities of all responses, in [0, 1].

    Raises
    ------
    ValueError
        When ``n`` is negative or the signals differ in length.

    Examples
    --------
    >>> signal = np.array([0.1, 0.9, 0.2, 0.8])
    >>> indices, probability = draw("systematic", 2, surprisal=signal, p_correct=np.full(4, 0.5), seed=0)
    >>> sorted(signal[indices] > 0.5), probability.tolist()
    ([np.False_, np.True_], [0.5, 0.5, 0.5, 0.5])
    """
    total = len(surprisal)
    if n < 0 or len(p_correct) != total:
        raise ValueError(f"n = {n}, {total} surprisals and {len(p_correct)} probabilities: cannot draw")
    if n >= total:
        return np.arange(total), np.ones(total)
    rng = np.random.default_rng(seed)
    size = _uncertainty(p_correct) if plan == "uncertainty" else np.ones(total)
    probability = _capped(n, size)
    order = rng.permutation(total)
    if plan == "systematic":
        order = order[_serpentine(surprisal[order], p_correct[order], n)]
    passed = np.cumsum(probability[order])
    at = np.searchsorted(passed, rng.random() + np.arange(n), side="right")
    return np.sort(order[np.minimum(at, total - 1)]), probability


def _serpentine(surprisal: Float64s, p_correct: Float64s, n: int) -> npt.NDArray[np.intp]:
    """The order of a systematic draw of n: strata of ``p_correct``, and in them surprisal, in turn rising and falling.

    Neighbours are then alike in both signals. There are about sqrt(n) strata of one size, and at most `_STRATA`; one
    where all responses have the same ``p_correct``. Source: hierarchic serpentine sorting, Williams and Chromy (1980).
    """
    total, is_flat = len(p_correct), len(np.unique(p_correct)) < 2
    n_strata = 1 if is_flat else min(max(round(np.sqrt(n)), 1), _STRATA)
    stratum, rank = np.empty(total, dtype=np.intp), np.empty(total, dtype=np.intp)
    stratum[np.argsort(p_correct, kind="stable")] = np.arange(total) * n_strata // total
    rank[np.argsort(surprisal, kind="stable")] = np.arange(total)
    return np.lexsort((np.where(stratum % 2 == 0, rank, -rank), stratum))


def _uncertainty(p: Float64s) -> Float64s:
    present = ~np.isnan(p)
    doubt = np.sqrt(p * (1 - p))
    mean = float(doubt[present].mean()) if present.any() else 0.0
    if mean == 0:
        return np.ones(len(p))
    return np.maximum(np.where(present, doubt, mean), _UNCERTAINTY_FLOOR * mean)


def _capped(n: int, size: Float64s) -> Float64s:
    """(N,) probabilities proportional to ``size`` but at most 1, with sum ``n`` < N."""
    sure: Bools = np.zeros(len(size), dtype=np.bool_)
    while True:
        probability = np.where(sure, 1.0, size * (n - sure.sum()) / size[~sure].sum())
        beyond = ~sure & (probability >= 1)
        if not beyond.any():
            return probability
        sure |= beyond
