"""Whether log-probabilities carry any information about uncertainty: after greedy sampling they may not.

Some servers compute log-probabilities after the samplers. At temperature 0 every token then has probability 1, and
entropy is 0 whatever the model believes. The features of such responses are not used: they would hide every change.
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.events import Context, Signal

AFTER_SAMPLERS = frozenset({"processed", "processed_logprobs", "processed_logits", "after_samplers"})
"""Names of ``logprobs_mode`` for values taken after temperature and the samplers."""

MIN_TOKENS = 32
"""Chosen tokens of probability 1, without alternatives, that show it: fewer may be certain by coincidence."""


def is_uninformative(signal: Signal, context: Context) -> bool:
    """Whether the log-probabilities come after greedy sampling: by declaration, or because all tokens are certain.

    >>> is_uninformative(Signal(chosen_logprobs=np.zeros(40)), Context())
    True
    >>> is_uninformative(Signal(chosen_logprobs=np.array([0.0, -0.1])), Context(temperature=0.0))
    False
    """
    if context.temperature == 0 and context.logprobs_mode in AFTER_SAMPLERS:
        return True
    chosen = signal.chosen_logprobs
    if chosen is None or not len(chosen) or chosen[0] != 0 or chosen.any():  # mostly the first token is not certain
        return False
    if signal.problems.get("certain_after_processing", 0) >= len(chosen):
        return True
    return len(chosen) >= MIN_TOKENS and not _has_entropy(signal)


def _has_entropy(signal: Signal) -> bool:
    if signal.top_logprobs is not None:
        return bool((~np.isnan(signal.top_logprobs)).sum(axis=1).max() > 1)
    return signal.entropy is not None and bool((signal.entropy > 0).any())
