"""Features of long responses at a constant cost for a token: exact sums, and quantiles from a histogram."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, Signal
from driftgauge.models.signals.feature_sets import (
    DEFAULT_SPEC,
    ENTROPY_FEATURES,
    FEATURE_SETS,
    NLL_FEATURES,
    FeatureSpec,
    in_width,
)
from driftgauge.models.signals.features import EPSILON, LARGEST, QUANTILES, Profile, profiles

BIN_NATS = 16 / 8192
"""Width of a histogram bin, and so the largest error of a folded quantile, in nats."""

BLOCK_TOKENS = 256


class Fold:
    """Sums, moments, maxima and a histogram: the state of a very long response, of constant size (64 KiB).

    Sums, moments and maxima are exact up to rounding. Quantiles come from a histogram with bins `BIN_NATS` wide up to
    16 nats (more than any vocabulary can give), which bounds their error.
    """

    def __init__(self) -> None:
        self.bins = np.zeros(8192, dtype=np.int64)
        self.moments = np.zeros(5)  # n, mean, and sums of the centred 2nd, 3rd, 4th powers
        self.totals = np.array([-np.inf, 0.0, -np.inf, 0.0, 0.0, -np.inf])  # max h; n, max, sum, sum x, max x of nll
        self.tail = np.array([0.0, -np.inf, 0.0] * 2)  # n, max, sum of the tail mass; of the varentropy

    def add(self, profile: Profile) -> None:
        """Add the next tokens."""
        h, x, *tail = (column[np.isfinite(column)].astype(np.float64) for column in profile)
        if len(h):
            place = np.clip(h / BIN_NATS, 0, len(self.bins) - 1).astype(np.int64)
            self.bins += np.bincount(place, minlength=len(self.bins))
            d = h - h.mean()
            self.moments = _merged(self.moments, np.array([len(h), h.mean(), (d**2).sum(), (d**3).sum(), (d**4).sum()]))
            self.totals[0] = max(self.totals[0], h.max())
        if len(x):
            weighted = x * np.log(x + EPSILON)
            t = self.totals
            self.totals[1:] = [t[1] + len(x), max(t[2], x.max()), t[3] + x.sum(), t[4] + weighted.sum(),
                               max(t[5], weighted.max())]  # fmt: skip
        for t, values in zip(self.tail.reshape(2, 3), tail, strict=True):
            t[:] = t[0] + len(values), max(t[1], values.max(initial=-np.inf)), t[2] + values.sum()

    def summaries(self) -> Float64s:
        """(22,) the columns of the extended set; NaN without a usable token."""
        n, mean, m2, m3, m4 = self.moments
        highest, n_nll, nll_max, nll_sum, weighted_sum, weighted_max = self.totals
        n_tail, tail_max, tail_sum, n_var, var_max, var_sum = self.tail
        entropy, nll = np.full(len(ENTROPY_FEATURES), np.nan), np.full(len(NLL_FEATURES), np.nan)
        if n:
            std = np.sqrt(m2 / max(n - 1, 1))
            shape = (m3 / n / (std**3 + EPSILON), m4 / n / (std**4 + EPSILON))
            entropy[:] = [mean, std, highest, *self._quantiles(), *shape, mean * n]
        if n_nll:
            perplexity = np.exp(min(nll_sum / n_nll, np.log(LARGEST)))
            nll[:] = [nll_sum / n_nll, nll_max, nll_sum, weighted_sum, weighted_max, perplexity]
        tail = [tail_sum / n_tail, tail_max] if n_tail else [np.nan] * 2
        varentropy = [var_sum / n_var, var_max, var_sum] if n_var else [np.nan] * 3
        return np.array([*entropy, *nll, *tail, *varentropy])

    def _quantiles(self) -> Float64s:
        """(5,) by linear interpolation between the bins of the two order statistics."""
        place = (self.moments[0] - 1) * QUANTILES
        ranks = np.stack([np.floor(place), np.ceil(place)])
        middles = (np.searchsorted(np.cumsum(self.bins), ranks, side="right") + 0.5) * BIN_NATS
        low, high = np.minimum(middles, self.totals[0])
        return np.asarray(low + (high - low) * (place - ranks[0]))

    def snapshot(self) -> list[bytes]:
        """State as bytes; `restore` takes it."""
        return [part.tobytes() for part in (self.bins, self.moments, self.totals, self.tail)]

    def restore(self, state: list[bytes]) -> Fold:
        """Continue from a snapshot; returns self."""
        self.bins = np.frombuffer(state[0], dtype=np.int64).copy()
        self.moments = np.frombuffer(state[1]).copy()
        self.totals = np.frombuffer(state[2]).copy()
        self.tail = np.frombuffer(state[3]).copy()
        return self


def _merged(a: Float64s, b: Float64s) -> Float64s:
    """Central moments of two samples together (Chan, Golub and LeVeque 1979; Pébay 2008)."""
    (na, mean_a, a2, a3, a4), (nb, mean_b, b2, b3, b4) = a, b
    n, d = na + nb, mean_b - mean_a
    m2 = a2 + b2 + d**2 * na * nb / n
    m3 = a3 + b3 + d**3 * na * nb * (na - nb) / n**2 + 3 * d * (na * b2 - nb * a2) / n
    m4 = (
        a4 + b4 + d**4 * na * nb * (na**2 - na * nb + nb**2) / n**3
        + 6 * d**2 * (na**2 * b2 + nb**2 * a2) / n**2 + 4 * d * (na * b3 - nb * a3) / n
    )  # fmt: skip
    return np.array([n, mean_a + d * nb / n, m2, m3, m4])


class RunningFeatures:
    """Features of a response that still grows; the cost of a piece does not grow with the response.

    Complete blocks of `BLOCK_TOKENS` tokens are folded once, and the tokens after them each time. The features depend
    on the tokens alone, not on the pieces in which they came, so they are the same after a restart.

    Parameters
    ----------
    spec : which features

    Examples
    --------
    >>> signal = Signal(chosen_logprobs=np.full(1_000, -0.5))
    >>> features = RunningFeatures().of(signal.n_tokens, lambda start, stop: Signal(signal.chosen_logprobs[start:stop]))
    >>> float(features[DEFAULT_SPEC.names.index("nll_mean")])
    0.5
    """

    def __init__(self, spec: FeatureSpec = DEFAULT_SPEC) -> None:
        self._width = len(FEATURE_SETS[spec.set])
        self._parts = (None, SEGMENT_REASONING, SEGMENT_ANSWER) if spec.segments else (None,)
        self._folds = [Fold() for _ in self._parts]
        self._n_folded = 0

    def of(self, n_tokens: int, read: Callable[[int, int], Signal]) -> Float32s:
        """Features of the first ``n_tokens`` tokens, (d,) float32: the columns of ``spec.names``.

        ``read(start, stop)`` returns these tokens as a signal with an entropy profile. Each token of a complete block
        is read once. ``n_tokens`` never falls from call to call.
        """
        while self._n_folded + BLOCK_TOKENS <= n_tokens:
            self._add(self._folds, read(self._n_folded, self._n_folded + BLOCK_TOKENS))
            self._n_folded += BLOCK_TOKENS
        folds = [Fold().restore(fold.snapshot()) for fold in self._folds]
        self._add(folds, read(self._n_folded, n_tokens))
        summaries = np.array([fold.summaries() for fold in folds], dtype=np.float32)
        return np.asarray(in_width(summaries, self._width).ravel())

    def _add(self, folds: list[Fold], signal: Signal) -> None:
        profile, _ = profiles([signal])
        for fold, part in zip(folds, self._parts, strict=True):
            if part is None:
                fold.add(profile)
            elif signal.segments is not None:
                fold.add(profile.where(signal.segments == part))
