"""Signals as they came become signals to reckon with: those of a batch together, the odd ones by `connectors.rules`.

Owns the recognition of what is usual: rows in order, probabilities of one distribution, nothing that stands for
something else. It costs a few passes over the arrays of many responses at once. A response with one token that is
not usual goes through the rules alone. They give the same for what is usual, so that what becomes of a response does
not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from driftgauge.connectors.decoding.rules import ROUNDING, SENTINEL, Mask, by_rule, in_order
from driftgauge.models.arrays import Float32s, Floats
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import alternative_sums
from driftgauge.models.signals.features import joined, runs


def normalise(signals: Sequence[Signal]) -> list[Signal]:
    """What `by_rule` makes of each of these signals.

    >>> import numpy as np
    >>> usual, odd = normalise([Signal(np.array([-0.5])), Signal(np.array([-9999.0]))])
    >>> usual.problems, odd.problems
    ({}, {'sentinel_logprob': 1})
    """
    return [signal for n_tokens, members in runs(signals) for signal in _normalised(n_tokens, members)]


def _normalised(n_tokens: int, signals: Sequence[Signal]) -> list[Signal]:
    """Of signals whose arrays are alike."""
    chosen = joined([signal.chosen_logprobs for signal in signals])
    top = joined([signal.top_logprobs for signal in signals])
    if chosen is None and top is None:
        return list(signals)
    if top is not None and not top.shape[1]:
        return [by_rule(signal) for signal in signals]
    sums = None if top is None else alternative_sums(top)
    odd = np.zeros(n_tokens, dtype=bool)
    if chosen is not None:
        chosen = chosen.astype(np.float32, copy=False)
        odd |= ~((chosen <= 0) & (chosen > SENTINEL))  # NaN is neither
    if top is not None and sums is not None:
        odd |= _odd_rows(top, sums)
    if top is not None and chosen is not None:
        odd |= _odd_choices(chosen, top)
    return list(_taken_apart(signals, chosen, sums, odd))


def _taken_apart(
    signals: Sequence[Signal], chosen: Float32s | None, sums: Float32s | None, odd: Mask
) -> Iterator[Signal]:
    any_is_odd, start = bool(odd.any()), 0
    for signal in signals:
        tokens = slice(start, start := start + signal.n_tokens)
        if any_is_odd and odd[tokens].any():
            yield by_rule(signal)
        else:
            yield Signal(
                None if chosen is None else chosen[tokens], signal.top_logprobs, signal.entropy, signal.features,
                signal.segments, signal.censored, signal.problems, None if sums is None else sums[tokens],
            )  # fmt: skip


def _odd_rows(top: Floats, sums: Float32s) -> Mask:
    """Rows that are not log-probabilities of one distribution from the likeliest down, or repeat their neighbour."""
    first, last = top[:, 0].astype(np.float32), top[:, -1].astype(np.float32)
    odd = ~((sums[:, 0] <= 1 + ROUNDING) & (first <= 0) & (last > SENTINEL))
    falls = in_order(top)
    if not falls.all():
        odd |= ~falls.reshape(top.shape).all(axis=1)
    pairs = sums.view(np.complex64)[:, 0]
    odd[1:] |= pairs[1:] == pairs[:-1]
    return odd


def _odd_choices(chosen: Float32s, top: Floats) -> Mask:
    """Chosen tokens that are likelier than the first alternative, or ought to be listed and are not."""
    odd = np.zeros(len(chosen), dtype=bool)
    sampled = np.flatnonzero(chosen != top[:, 0].astype(np.float32))
    if sampled.size:
        values, rows = chosen[sampled], top[sampled].astype(np.float32)
        with np.errstate(invalid="ignore"):
            is_listed = (np.abs(rows - values[:, None]) <= ROUNDING).any(axis=1)
        odd[sampled] = (values > rows[:, 0]) | ((values > rows[:, -1] + ROUNDING) & ~is_listed)
    return odd
