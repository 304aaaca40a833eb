"""The features of one response that arrives in pieces, equal to those of the whole response."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.features import N_FEATURES, SEGMENT_FEATURES, extract, profiles
from driftgauge.models.signals.fold import Fold


class Accumulator:
    """Features of one response that arrives in pieces, equal to those of the whole response.

    Up to ``max_exact_tokens`` tokens the profile itself is kept (9 bytes a token), and the features are equal to the
    bit. A longer profile is folded (`Fold`): sums, moments and maxima then stay exact up to rounding, quantiles up to
    `BIN_NATS`, and segment features are missing. Memory is then constant (64 KiB).

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

    def __init__(self, variant: EntropyVariant = "published", *, max_exact_tokens: int = 65_536) -> None:
        self.variant: EntropyVariant = variant
        self.max_exact_tokens = max_exact_tokens
        self.n_tokens = 0
        self._clear()
        self._fold: Fold | None = None

    def _clear(self) -> None:
        self._entropy, self._nll = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32)
        self._segments = np.empty(0, dtype=np.uint8)

    def add(self, signal: Signal) -> None:
        """Take the next tokens. The cost is that of the entropy of these tokens."""
        entropy, nll, _ = profiles([signal], self.variant)
        start, self.n_tokens = self.n_tokens, self.n_tokens + len(entropy)
        if self._fold is not None:
            self._fold.add(entropy, nll)
            return
        if not len(entropy):
            return
        self._reserve(self.n_tokens)
        new = slice(start, self.n_tokens)
        self._entropy[new], self._nll[new] = entropy, nll
        self._segments[new] = 0 if signal.segments is None else signal.segments
        if self.n_tokens > self.max_exact_tokens:
            self._fold = Fold()
            self._fold.add(self._entropy[: self.n_tokens], self._nll[: self.n_tokens])
            self._clear()

    def _reserve(self, n: int) -> None:
        """Make room for n tokens; each time for twice as many, so that a token is copied a bounded number of times."""
        if n <= len(self._entropy):
            return
        n_kept, room = len(self._entropy), max(16, 2 * n)
        for name in ("_entropy", "_nll", "_segments"):
            grown = np.empty(room, dtype=getattr(self, name).dtype)
            grown[:n_kept] = getattr(self, name)
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
        if self._fold is None and self.n_tokens:
            state["entropy"] = self._entropy[: self.n_tokens].tobytes()
            state["nll"] = self._nll[: self.n_tokens].tobytes()
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
        return self
