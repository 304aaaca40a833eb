"""Whether log-probabilities say anything about uncertainty at all: after greedy sampling they may not.

Servers that give values after the samplers give probability 1 to every token at temperature 0: entropy is 0 whatever
the model believes. Such responses are refused, because a monitor fed with them is blind.
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.events import Context, Signal

AFTER_SAMPLERS = frozenset({"processed", "processed_logprobs", "processed_logits", "after_samplers"})
"""Names of ``logprobs_mode`` for values taken after temperature and the samplers."""

MIN_TOKENS = 32
"""Chosen tokens of probability 1, without alternatives, that prove the point: fewer may be chance."""


def is_uninformative(signal: Signal, context: Context) -> bool:
    """Whether the context declares it, or every token is certain because the server made it so.

    >>> is_uninformative(Signal(chosen_logprobs=np.zeros(40)), Context())
    True
    >>> is_uninformative(Signal(chosen_logprobs=np.array([0.0, -0.1])), Context(temperature=0.0))
    False
    """
    if context.temperature == 0 and context.logprobs_mode in AFTER_SAMPLERS:
        return True
    chosen = signal.chosen_logprobs
    if chosen is None or not len(chosen) or (chosen != 0).any():
        return False
    if signal.problems.get("certain_after_processing", 0) >= len(chosen):
        return True
    return len(chosen) >= MIN_TOKENS and not _has_entropy(signal)


def _has_entropy(signal: Signal) -> bool:
    if signal.top_logprobs is not None:
        return bool((~np.isnan(signal.top_logprobs)).sum(axis=1).max() > 1)
    return signal.entropy is not None and bool((signal.entropy > 0).any())
