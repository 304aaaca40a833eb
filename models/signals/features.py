"""From token log-probabilities to features: the entropy profile of a response and its 17 published summaries.

Owns the numbers every classifier sees. Everything is vectorised over ragged batches (responses of different
lengths laid end to end), and a response's features do not depend on which others are in its batch, to the bit.
`Accumulator` gives the same numbers for a response that arrives in pieces. Source of the formulas: Entropy
Sentinel, arXiv 2601.09001. Missing stays missing: a summary without a single usable token is NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s, Floats, Int64s, UInt8s
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, Signal
from driftgauge.models.signals.entropy import CACHED_POSITIONS, EntropyVariant, alternative_sums, entropy_from

Offsets: TypeAlias = Int64s

ENTROPY_FEATURES = (
    "entropy_mean", "entropy_std", "entropy_max",
    "entropy_q10", "entropy_q25", "entropy_q50", "entropy_q75", "entropy_q90",
    "entropy_skewness", "entropy_kurtosis", "entropy_sum",
)  # fmt: skip
NLL_FEATURES = ("nll_mean", "nll_max", "nll_sum", "nll_log_nll_sum", "nll_log_nll_max", "perplexity")
FEATURES = ENTROPY_FEATURES + NLL_FEATURES
N_FEATURES = len(FEATURES)
SEGMENT_FEATURES = FEATURES + tuple(f"{s}_{name}" for s in ("reasoning", "answer") for name in FEATURES)

_QUANTILES = np.array([0.10, 0.25, 0.50, 0.75, 0.90])
_EPSILON = 1e-8
_LARGEST = float(np.finfo(np.float32).max)


def summarize(entropy: Floats, nll: Floats, offsets: Offsets) -> Float64s:
    """The 17 summaries of n responses laid end to end.

    Parameters
    ----------
    entropy, nll : (T,) entropy in nats and negative log-probability of the chosen token; NaN where missing
    offsets : (n + 1,) response i owns ``[offsets[i], offsets[i + 1])``

    Returns
    -------
    (n, 17) float64 in the order of `FEATURES`. NaN for summaries of nothing. One token: std, skewness, kurtosis 0.

    Examples
    --------
    >>> import numpy as np
    >>> table = summarize(np.array([0.0, 1.0]), np.array([0.5, 1.5]), np.array([0, 2]))
    >>> dict(zip(FEATURES, table[0].round(3).tolist()))["entropy_std"]
    0.707
    """
    table = np.full((len(offsets) - 1, N_FEATURES), np.nan)
    values, ends, rows = _usable(entropy, offsets)
    if len(rows):
        table[rows, : len(ENTROPY_FEATURES)] = _entropy_summaries(values, ends)
    values, ends, rows = _usable(nll, offsets)
    if len(rows):
        table[rows, len(ENTROPY_FEATURES) :] = _nll_summaries(values, ends)
    return table


def _usable(values: Floats, offsets: Offsets) -> tuple[Floats, Offsets, npt.NDArray[np.intp]]:
    """Values without the missing ones, offsets of the non-empty responses, and which responses those are."""
    present = np.isfinite(values)
    if not present.all():
        offsets = np.concatenate([[0], np.cumsum(present)])[offsets]
        values = values[present]
    lengths = np.diff(offsets)
    rows = np.flatnonzero(lengths)  # reduceat misreads empty segments, so they are left out
    ends = np.concatenate([offsets[:1], offsets[1:][rows]]).astype(np.int64)
    return values[ends[0] : ends[-1]], ends - ends[0], rows


def _entropy_summaries(entropy: Floats, offsets: Offsets) -> Float64s:
    h = entropy.astype(np.float64)
    n = np.diff(offsets)
    starts = offsets[:-1]
    total = np.add.reduceat(h, starts)
    mean = total / n
    h -= np.repeat(mean, n)  # powers are made in place: a new array for each costs as much again
    squares = h * h
    std = np.sqrt(np.add.reduceat(squares, starts) / np.maximum(n - 1, 1))
    h *= squares
    squares *= squares
    third, fourth = np.add.reduceat(h, starts) / n, np.add.reduceat(squares, starts) / n
    shape = (third / (std**3 + _EPSILON), fourth / (std**4 + _EPSILON))
    return np.column_stack([mean, std, *_order_statistics(entropy, offsets), *shape, total])


def _order_statistics(entropy: Floats, offsets: Offsets) -> Float64s:
    """(6, n) the maximum, and the quantiles by linear interpolation between neighbours."""
    ordered = entropy.copy()  # in the precision it came in: half the bytes to sort
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        ordered[start:stop].sort()
    place = (np.diff(offsets) - 1) * _QUANTILES[:, None]
    below = np.floor(place).astype(np.int64)
    low = ordered[offsets[:-1] + below].astype(np.float64)
    high = ordered[offsets[:-1] + np.ceil(place).astype(np.int64)].astype(np.float64)
    return np.asarray(np.vstack([ordered[offsets[1:] - 1], low + (high - low) * (place - below)]), dtype=np.float64)


def _nll_summaries(values: Floats, offsets: Offsets) -> Float64s:
    nll = values.astype(np.float64)
    starts = offsets[:-1]
    total = np.add.reduceat(nll, starts)
    mean = total / np.diff(offsets)
    weighted = nll * np.log(nll + _EPSILON)
    return np.column_stack([
        mean, np.maximum.reduceat(nll, starts), total,
        np.add.reduceat(weighted, starts), np.maximum.reduceat(weighted, starts),
        np.exp(np.minimum(mean, np.log(_LARGEST))),
    ])  # fmt: skip


def profiles(signals: Sequence[Signal], variant: EntropyVariant = "published") -> tuple[Float32s, Float32s, Offsets]:
    """Entropy and negative log-probability of all tokens of a batch, end to end, with offsets; NaN where missing."""
    lengths = [signal.n_tokens for signal in signals]
    offsets = np.array([0, *itertools.accumulate(lengths)], dtype=np.int64)
    entropy = entropy_from(_sums(signals, offsets), variant)
    for i, signal in enumerate(signals):
        if signal.form == "entropy":
            entropy[offsets[i] : offsets[i + 1]] = signal.entropy
    missing = np.full(max(lengths, default=0), np.nan, dtype=np.float32)
    chosen = [missing[: s.n_tokens] if s.chosen_logprobs is None else s.chosen_logprobs for s in signals]
    # a log-probability rounded to a hair above 0 is a certain token
    nll = np.maximum(0 - np.concatenate([missing[:0], *chosen], dtype=np.float32), 0)
    return entropy, nll, offsets


def _sums(signals: Sequence[Signal], offsets: Offsets) -> Float32s:
    """(T, 2) `alternative_sums` of all tokens, those not known yet taken together; NaN without alternatives."""
    sums = np.full((offsets[-1], 2), np.nan, dtype=np.float32)
    start = 0
    for n_tokens, members in runs(signals):
        tokens = slice(start, start := start + n_tokens)
        if (known := joined([signal.alternative_sums for signal in members])) is not None:
            sums[tokens] = known
        elif (top := joined([signal.top_logprobs for signal in members])) is not None:
            sums[tokens] = alternative_sums(top)
    return sums


def runs(signals: Iterable[Signal]) -> Iterator[tuple[int, list[Signal]]]:
    """Neighbours whose arrays are alike, with their tokens: as many as a core's own cache holds, or one.

    >>> one, other = Signal(chosen_logprobs=np.zeros(3)), Signal(top_logprobs=np.zeros((2, 5)))
    >>> [(n_tokens, len(members)) for n_tokens, members in runs([one, one, other])]
    [(6, 2), (2, 1)]
    """
    run: list[Signal] = []
    n_tokens, kind = 0, None
    for signal in signals:
        n, found = signal.n_tokens, _kind(signal)
        if run and (found != kind or n_tokens + n > CACHED_POSITIONS):
            yield n_tokens, run
            run, n_tokens = [], 0
        run.append(signal)
        n_tokens, kind = n_tokens + n, found
    if run:
        yield n_tokens, run


def _kind(signal: Signal) -> tuple[object, ...]:
    top = signal.top_logprobs
    kind = (None, None) if top is None else (top.shape[1], top.dtype)
    return *kind, signal.chosen_logprobs is None, signal.alternative_sums is None


def joined(arrays: Sequence[Floats | None]) -> Floats | None:
    """Arrays end to end; None where they are absent."""
    present = [array for array in arrays if array is not None]
    return (np.concatenate(present) if len(present) > 1 else present[0]) if present else None


def extract(signals: Sequence[Signal], variant: EntropyVariant = "published", *, segments: bool = False) -> Float32s:
    """Features of a batch of responses.

    Returns
    -------
    (n, 17) float32 in the order of `FEATURES`; with ``segments``, (n, 51) in the order of `SEGMENT_FEATURES`:
    the whole response, its reasoning, its answer (NaN where the payload does not tell them apart).

    Examples
    --------
    >>> import numpy as np
    >>> extract([Signal(chosen_logprobs=np.log([0.5, 0.25]))])[0, -6:].round(3).tolist()[2]
    2.0789999961853027
    """
    entropy, nll, offsets = profiles(signals, variant)
    table = summarize(entropy, nll, offsets)
    if segments:
        parts = [_only(part, signals, entropy, nll, offsets) for part in (SEGMENT_REASONING, SEGMENT_ANSWER)]
        table = np.concatenate([table, *parts], axis=1)
    for i, signal in enumerate(signals):
        if signal.features is not None:
            table[i, :N_FEATURES] = signal.features
    return table.astype(np.float32)


def _only(part: int, signals: Sequence[Signal], entropy: Float32s, nll: Float32s, offsets: Offsets) -> Float64s:
    wanted = np.zeros(len(entropy), dtype=bool)
    for i, signal in enumerate(signals):
        if signal.segments is not None:
            wanted[offsets[i] : offsets[i + 1]] = signal.segments == part
    return summarize(np.where(wanted, entropy, np.nan), np.where(wanted, nll, np.nan), offsets)


class Accumulator:
    """Features of one response that arrives in pieces, equal to those of the whole.

    Up to ``max_exact_tokens`` tokens the profile itself is kept (9 bytes a token) and the result is equal to the bit.
    Past that it is folded: sums, moments and maxima stay exact up to rounding, quantiles come from a histogram whose
    bins are `BIN_NATS` wide up to 16 nats (more than any vocabulary can give), which bounds their error; segment
    features are missing. Memory is then constant (64 KiB).

    Examples
    --------
    >>> import numpy as np
    >>> whole = Signal(chosen_logprobs=np.log([0.5, 0.25, 0.9]))
    >>> pieces = Accumulator()
    >>> pieces.add(Signal(chosen_logprobs=np.log([0.5])))
    >>> pieces.add(Signal(chosen_logprobs=np.log([0.25, 0.9])))
    >>> bool((pieces.features()[-6:] == extract([whole])[0, -6:]).all())
    True
    """

    BIN_NATS = 16 / 8192
    """Width of a histogram bin, and so the largest error of a folded quantile, in nats."""

    def __init__(self, variant: EntropyVariant = "published", *, max_exact_tokens: int = 65_536) -> None:
        self.variant: EntropyVariant = variant
        self.max_exact_tokens = max_exact_tokens
        self.n_tokens = 0
        self._entropy: list[Float32s] = []
        self._nll: list[Float32s] = []
        self._segments: list[UInt8s] = []
        self._fold: _Fold | None = None

    def add(self, signal: Signal) -> None:
        """Take the next tokens. Cost: that of the entropy of these tokens."""
        entropy, nll, _ = profiles([signal], self.variant)
        self.n_tokens += len(entropy)
        if self._fold is not None:
            self._fold.add(entropy, nll)
            return
        unknown = np.zeros(len(entropy), dtype=np.uint8)
        self._entropy.append(entropy)
        self._nll.append(nll)
        self._segments.append(unknown if signal.segments is None else signal.segments)
        if self.n_tokens > self.max_exact_tokens:
            self._fold = _Fold()
            self._fold.add(np.concatenate(self._entropy), np.concatenate(self._nll))
            self._entropy, self._nll, self._segments = [], [], []

    def signal(self) -> Signal:
        """What was taken so far as one signal with a precomputed profile; empty once folded."""
        if not self._entropy:
            return Signal()
        segments = np.concatenate(self._segments)
        return Signal(
            chosen_logprobs=-np.concatenate(self._nll),
            entropy=np.concatenate(self._entropy),
            segments=segments if segments.any() else None,
        )

    def features(self, *, segments: bool = False) -> Float32s:
        """(17,) or, with ``segments``, (51,) float32 of everything taken so far."""
        if self._fold is None:
            return np.asarray(extract([self.signal()], self.variant, segments=segments)[0])
        whole = self._fold.summaries()
        missing = np.full(len(SEGMENT_FEATURES) - N_FEATURES if segments else 0, np.nan)
        return np.concatenate([whole, missing]).astype(np.float32)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and bytes; `restore` takes it."""
        state: dict[str, Any] = {"n_tokens": self.n_tokens, "fold": self._fold.snapshot() if self._fold else None}
        if self._entropy:
            state["entropy"] = np.concatenate(self._entropy).tobytes()
            state["nll"] = np.concatenate(self._nll).tobytes()
            state["segments"] = np.concatenate(self._segments).tobytes()
        return state

    def restore(self, state: dict[str, Any]) -> Accumulator:
        """Take over what `snapshot` gave; returns self."""
        self.n_tokens = state["n_tokens"]
        self._fold = _Fold().restore(state["fold"]) if state["fold"] else None
        if "entropy" in state:
            self._entropy = [np.frombuffer(state["entropy"], dtype=np.float32)]
            self._nll = [np.frombuffer(state["nll"], dtype=np.float32)]
            self._segments = [np.frombuffer(state["segments"], dtype=np.uint8)]
        return self


class _Fold:
    """Sums, moments, maxima and a histogram: the constant-size memory of a very long response."""

    def __init__(self) -> None:
        self.bins = np.zeros(8192, dtype=np.int64)
        self.moments = np.zeros(5)  # n, mean, and sums of the centred 2nd, 3rd, 4th powers
        self.totals = np.array([-np.inf, 0.0, -np.inf, 0.0, 0.0, -np.inf])  # max h; n, max, sum, sum x, max x of nll

    def add(self, entropy: Floats, nll: Floats) -> None:
        h = entropy[np.isfinite(entropy)].astype(np.float64)
        if len(h):
            place = np.clip(h / Accumulator.BIN_NATS, 0, len(self.bins) - 1).astype(np.int64)
            self.bins += np.bincount(place, minlength=len(self.bins))
            d = h - h.mean()
            self.moments = _merged(self.moments, np.array([len(h), h.mean(), (d**2).sum(), (d**3).sum(), (d**4).sum()]))
            self.totals[0] = max(self.totals[0], h.max())
        x = nll[np.isfinite(nll)].astype(np.float64)
        if len(x):
            weighted = x * np.log(x + _EPSILON)
            t = self.totals
            self.totals[1:] = [t[1] + len(x), max(t[2], x.max()), t[3] + x.sum(), t[4] + weighted.sum(),
                               max(t[5], weighted.max())]  # fmt: skip

    def summaries(self) -> Float64s:
        table = np.full(N_FEATURES, np.nan)
        n, mean, m2, m3, m4 = self.moments
        highest, n_nll, nll_max, nll_sum, weighted_sum, weighted_max = self.totals
        if n:
            std = np.sqrt(m2 / max(n - 1, 1))
            shape = (m3 / n / (std**3 + _EPSILON), m4 / n / (std**4 + _EPSILON))
            table[: len(ENTROPY_FEATURES)] = [mean, std, highest, *self._quantiles(), *shape, mean * n]
        if n_nll:
            perplexity = np.exp(min(nll_sum / n_nll, np.log(_LARGEST)))
            table[len(ENTROPY_FEATURES) :] = [
                nll_sum / n_nll, nll_max, nll_sum, weighted_sum, weighted_max, perplexity
            ]  # fmt: skip
        return table

    def _quantiles(self) -> Float64s:
        """(5,) by linear interpolation between the bins of the two order statistics."""
        place = (self.moments[0] - 1) * _QUANTILES
        ranks = np.stack([np.floor(place), np.ceil(place)])
        middles = (np.searchsorted(np.cumsum(self.bins), ranks, side="right") + 0.5) * Accumulator.BIN_NATS
        low, high = np.minimum(middles, self.totals[0])
        return np.asarray(low + (high - low) * (place - ranks[0]))

    def snapshot(self) -> list[bytes]:
        return [self.bins.tobytes(), self.moments.tobytes(), self.totals.tobytes()]

    def restore(self, state: list[bytes]) -> _Fold:
        self.bins = np.frombuffer(state[0], dtype=np.int64).copy()
        self.moments = np.frombuffer(state[1]).copy()
        self.totals = np.frombuffer(state[2]).copy()
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
