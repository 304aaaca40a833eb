"""The features of one response that arrives in pieces, equal to those of the whole response."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s, Floats, UInt8s
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.features import (
    ENTROPY_FEATURES,
    EPSILON,
    LARGEST,
    N_FEATURES,
    QUANTILES,
    SEGMENT_FEATURES,
    extract,
    profiles,
)


class Accumulator:
    """Features of one response that arrives in pieces, equal to those of the whole response.

    Up to ``max_exact_tokens`` tokens the profile itself is kept (9 bytes a token), and the features are equal to the
    bit. A longer profile is folded. Sums, moments and maxima then stay exact up to rounding. Quantiles come from a
    histogram with bins `BIN_NATS` wide up to 16 nats (more than any vocabulary can give), which bounds their error.
    Segment features are missing. Memory is then constant (64 KiB).

    Parameters
    ----------
    variant : of the entropy, see `entropy_profile`
    max_exact_tokens : tokens after which the profile is folded

    Attributes
    ----------
    n_tokens : tokens taken so far

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
        """Take the next tokens. The cost is that of the entropy of these tokens."""
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

    @property
    def is_folded(self) -> bool:
        """Whether the profile was too long to be kept."""
        return self._fold is not None

    def signal(self) -> Signal:
        """The tokens so far as one signal with a precomputed profile; empty once the profile is folded."""
        if not self._entropy:
            return Signal()
        segments = np.concatenate(self._segments)
        return Signal(
            chosen_logprobs=-np.concatenate(self._nll),
            entropy=np.concatenate(self._entropy),
            segments=segments if segments.any() else None,
        )

    def features(self, *, segments: bool = False) -> Float32s:
        """Features of the tokens so far: (17,) float32, or (51,) with ``segments``."""
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
        """Continue from a snapshot; returns self."""
        self.n_tokens = state["n_tokens"]
        self._fold = _Fold().restore(state["fold"]) if state["fold"] else None
        if "entropy" in state:
            self._entropy = [np.frombuffer(state["entropy"], dtype=np.float32)]
            self._nll = [np.frombuffer(state["nll"], dtype=np.float32)]
            self._segments = [np.frombuffer(state["segments"], dtype=np.uint8)]
        return self


class _Fold:
    """Sums, moments, maxima and a histogram: the state of a very long response, of constant size."""

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
            weighted = x * np.log(x + EPSILON)
            t = self.totals
            self.totals[1:] = [t[1] + len(x), max(t[2], x.max()), t[3] + x.sum(), t[4] + weighted.sum(),
                               max(t[5], weighted.max())]  # fmt: skip

    def summaries(self) -> Float64s:
        table = np.full(N_FEATURES, np.nan)
        n, mean, m2, m3, m4 = self.moments
        highest, n_nll, nll_max, nll_sum, weighted_sum, weighted_max = self.totals
        if n:
            std = np.sqrt(m2 / max(n - 1, 1))
            shape = (m3 / n / (std**3 + EPSILON), m4 / n / (std**4 + EPSILON))
            table[: len(ENTROPY_FEATURES)] = [mean, std, highest, *self._quantiles(), *shape, mean * n]
        if n_nll:
            perplexity = np.exp(min(nll_sum / n_nll, np.log(LARGEST)))
            table[len(ENTROPY_FEATURES) :] = [
                nll_sum / n_nll, nll_max, nll_sum, weighted_sum, weighted_max, perplexity
            ]  # fmt: skip
        return table

    def _quantiles(self) -> Float64s:
        """(5,) by linear interpolation between the bins of the two order statistics."""
        place = (self.moments[0] - 1) * QUANTILES
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
