"""Rules for a whole response: what its other tokens say about one of them.

A piece of a stream does not show what the other pieces hold, so these rules are applied to whole signals, and to a
stream when all its pieces are there. Stream and body then agree.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from driftgauge.models.events import Signal


def whole_response(signal: Signal) -> Signal:
    """The signal of a whole response, after all the rules of this module."""
    return without_bare_zeros(without_single_alternatives(signal))


def without_bare_zeros(signal: Signal) -> Signal:
    """Make missing a log-probability of exactly 0 without alternatives where other tokens have some; counted.

    A server with speculative decoding lists the tokens of its draft like that: it never computed their values.

    >>> nan = np.nan
    >>> signal = Signal(np.array([-0.5, 0.0]), np.array([[-0.5, -1.5], [nan, nan]]))
    >>> without_bare_zeros(signal).chosen_logprobs.tolist()
    [-0.5, nan]
    """
    chosen, listed = signal.chosen_logprobs, signal.entropy
    if signal.form == "top_logprobs" and signal.top_logprobs is not None:
        listed = signal.top_logprobs[:, 0]
    if chosen is None or listed is None:
        return signal
    absent = np.isnan(listed)
    bare = absent & (chosen == 0)
    if not bare.any() or absent.all():
        return signal
    n = signal.problems.get("not_computed", 0) + int(bare.sum())
    chosen = np.where(bare, chosen.dtype.type(np.nan), chosen)
    return replace(signal, chosen_logprobs=chosen, problems={**signal.problems, "not_computed": n})


def without_single_alternatives(signal: Signal) -> Signal:
    """The signal without alternatives where one was asked for, and the chosen tokens are there; counted.

    The entropy of one alternative follows from it alone. vLLM lists the sampled token in its place, so that the entropy
    would be near 0 exactly where the model was surprised.

    >>> signal = Signal(np.array([-7.0]), np.array([[-7.0]]))
    >>> without_single_alternatives(signal).form
    'chosen_logprobs'
    """
    top, chosen = signal.top_logprobs, signal.chosen_logprobs
    if top is None or top.shape[1] != 1 or not len(top) or chosen is None or np.isnan(chosen).all():
        return signal
    problems = {**signal.problems, "single_alternative": int((~np.isnan(top[:, 0])).sum())}
    return replace(signal, top_logprobs=None, alternative_sums=None, problems={k: n for k, n in problems.items() if n})
