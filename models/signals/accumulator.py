"""The features of one response that arrives in pieces, equal to those of the whole response."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import N_SUMS, sums_of
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec, in_width
from driftgauge.models.signals.features import extract, profiles
from driftgauge.models.signals.fold import Fold


class Accumulator:
    """Features of one response that arrives in pieces, equal to those of the whole response.

    Up to ``max_exact_tokens`` tokens the profile itself is kept (21 bytes a token), and the features are equal to the
    bit. A longer profile is folded (`Fold`): sums, moments and maxima then stay exact up to rounding, quantiles up to
    `BIN_NATS`, and segment features are missing. Memory is then constant (64 KiB).

    Parameters
    ----------
    spec : which features
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
    >>> bool(np.array_equal(pieces.features(), extract([whole])[0], equal_nan=True))
    True
    """

    def __init__(self, spec: FeatureSpec = DEFAULT_SPEC, *, max_exact_tokens: int = 65_536) -> None:
        self.spec = spec
        self.max_exact_tokens = max_exact_tokens
        self.n_tokens = 0
        self._clear()
        self._fold: Fold | None = None

    def _clear(self) -> None:
        self._entropy, self._nll = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32)
        self._sums = np.empty((0, N_SUMS), dtype=np.float32)
        self._segments = np.empty(0, dtype=np.uint8)

    def add(self, signal: Signal) -> None:
        """Take the next tokens. The cost is that of the sums over the alternatives of these tokens."""
        sums = sums_of(signal)
        profile, _ = profiles([replace(signal, alternative_sums=sums)], self.spec.entropy)
        start, self.n_tokens = self.n_tokens, self.n_tokens + signal.n_tokens
        if self._fold is not None:
            self._fold.add(profile)
            return
        if not signal.n_tokens:
            return
        self._reserve(self.n_tokens)
        new = slice(start, self.n_tokens)
        self._entropy[new], self._nll[new] = profile.entropy, profile.nll
        self._sums[new] = np.nan if sums is None else sums
        self._segments[new] = 0 if signal.segments is None else signal.segments
        if self.n_tokens > self.max_exact_tokens:
            whole, _ = profiles([self.tokens(0, self.n_tokens)])
            self._fold = Fold()
            self._fold.add(whole)
            self._clear()

    def _reserve(self, n: int) -> None:
        """Make room for n tokens; each time for twice as many, so that a token is copied a bounded number of times."""
        if n <= len(self._entropy):
            return
        n_kept, room = len(self._entropy), max(16, 2 * n)
        for name in ("_entropy", "_nll", "_sums", "_segments"):
            kept = getattr(self, name)
            grown = np.empty((room, *kept.shape[1:]), dtype=kept.dtype)
            grown[:n_kept] = kept
            setattr(self, name, grown)

    @property
    def is_folded(self) -> bool:
        """Whether the profile was too long to be kept."""
        return self._fold is not None

    def signal(self) -> Signal:
        """The tokens so far as one signal with a precomputed profile; empty once the profile is folded."""
        return Signal() if self.is_folded or not self.n_tokens else self.tokens(0, self.n_tokens)

    def tokens(self, start: int, stop: int) -> Signal:
        """Some of the tokens so far as one signal with a precomputed profile, unless the profile is folded."""
        segments = self._segments[start:stop]
        return Signal(
            chosen_logprobs=-self._nll[start:stop],
            entropy=self._entropy[start:stop],
            segments=segments if segments.any() else None,
            alternative_sums=self._sums[start:stop],
        )

    def features(self) -> Float32s:
        """Features of the tokens so far, (d,) float32: the columns of ``spec.names``."""
        if self._fold is None:
            return np.asarray(extract([self.signal()], self.spec)[0])
        whole = self._fold.summaries().astype(np.float32)
        return np.asarray(in_width(whole[None], self.spec.width)[0])

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and bytes; `restore` takes it."""
        state: dict[str, Any] = {"n_tokens": self.n_tokens, "fold": self._fold.snapshot() if self._fold else None}
        if self._fold is None and self.n_tokens:
            state["entropy"] = self._entropy[: self.n_tokens].tobytes()
            state["nll"] = self._nll[: self.n_tokens].tobytes()
            state["sums"] = self._sums[: self.n_tokens].tobytes()
            state["segments"] = self._segments[: self.n_tokens].tobytes()
        return state

    def restore(self, state: dict[str, Any]) -> Accumulator:
        """Continue from a snapshot; returns self."""
        self.n_tokens = state["n_tokens"]
        self._fold = Fold().restore(state["fold"]) if state["fold"] else None
        if "entropy" in state:
            self._entropy = np.frombuffer(state["entropy"], dtype=np.float32)
            self._nll = np.frombuffer(state["nll"], dtype=np.float32)
            self._segments = np.frombuffer(state["segments"], dtype=np.uint8)
            self._sums = np.frombuffer(state["sums"], dtype=np.float32).reshape(-1, N_SUMS)
        return self
