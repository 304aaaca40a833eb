"""Raw signals become normalised signals: those of a batch together, each unusual one by `apply_rules`.

A usual token has sorted alternatives that are probabilities of one distribution, and no placeholder values. Finding the
unusual tokens costs a few passes over the arrays of many responses at once. A response with one unusual token goes
through the rules on its own. The rules give the same result for usual responses, so the result for a response does not
depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from driftgauge.connectors.decoding.rules import ROUNDING, SENTINEL, Mask, apply_rules, in_order
from driftgauge.models.arrays import Float32s, Floats
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import alternative_sums
from driftgauge.models.signals.features import joined, runs
from driftgauge.models.signals.whole import whole_response


def normalise(signals: Sequence[Signal], are_whole: Sequence[bool] = ()) -> list[Signal]:
    """Apply `apply_rules` to each of these signals; the usual ones are handled together.

    Signals for which ``are_whole`` is true are those of whole responses: they meet the rules of `models.signals.whole`.

    >>> import numpy as np
    >>> usual, unusual = normalise([Signal(np.array([-0.5])), Signal(np.array([-9999.0]))])
    >>> usual.problems, unusual.problems
    ({}, {'sentinel_logprob': 1})
    """
    found = [each for n_tokens, members in runs(signals) for each in _normalised(n_tokens, members)]
    if not any(are_whole):
        return [signal for signal, _ in found]
    return [_whole(*each) if is_whole else each[0] for each, is_whole in zip(found, are_whole, strict=True)]


def _whole(signal: Signal, is_usual: bool) -> Signal:
    """A usual signal has several alternatives everywhere, or none: the rules find nothing in it."""
    top = signal.top_logprobs
    if is_usual and signal.entropy is None and (top is None or top.shape[1] > 1):
        return signal
    return whole_response(signal)


def _normalised(n_tokens: int, signals: Sequence[Signal]) -> Iterable[tuple[Signal, bool]]:
    """The normalised signals of a run whose arrays have the same type and width; and which of them were usual."""
    chosen = joined([signal.chosen_logprobs for signal in signals])
    top = joined([signal.top_logprobs for signal in signals])
    if chosen is None and top is None:
        return [(signal, False) for signal in signals]
    if top is not None and not top.shape[1]:
        return [(apply_rules(signal), False) for signal in signals]
    sums = None if top is None else alternative_sums(top)
    unusual = np.zeros(n_tokens, dtype=bool)
    if chosen is not None:
        chosen = chosen.astype(np.float32, copy=False)
        unusual |= ~((chosen <= 0) & (chosen > SENTINEL))  # false for NaN
    if top is not None and sums is not None:
        unusual |= _unusual_rows(top, sums)
    if top is not None and chosen is not None:
        unusual |= _unusual_chosen(chosen, top)
    return _per_response(signals, chosen, sums, unusual)


def _per_response(
    signals: Sequence[Signal], chosen: Float32s | None, sums: Float32s | None, unusual: Mask
) -> Iterator[tuple[Signal, bool]]:
    any_unusual, start = bool(unusual.any()), 0
    for signal in signals:
        tokens = slice(start, start := start + signal.n_tokens)
        if any_unusual and unusual[tokens].any():
            yield apply_rules(signal), False
        else:
            usual = replace(
                signal,
                chosen_logprobs=None if chosen is None else chosen[tokens],
                alternative_sums=None if sums is None else sums[tokens],
            )
            yield usual, True


def _unusual_rows(top: Floats, sums: Float32s) -> Mask:
    """Rows that are not sorted log-probabilities of one distribution, or that repeat the row before them."""
    first, last = top[:, 0].astype(np.float32), top[:, -1].astype(np.float32)
    unusual = ~((sums[:, 0] <= 1 + ROUNDING) & (first <= 0) & (last > SENTINEL))
    falls = in_order(top)
    if not falls.all():
        unusual |= ~falls.reshape(top.shape).all(axis=1)
    unusual[1:] |= (sums[1:, 0] == sums[:-1, 0]) & (sums[1:, 1] == sums[:-1, 1])
    return unusual


def _unusual_chosen(chosen: Float32s, top: Floats) -> Mask:
    """Chosen tokens that are likelier than the first alternative, or likely enough to be listed but absent."""
    unusual = np.zeros(len(chosen), dtype=bool)
    sampled = np.flatnonzero(chosen != top[:, 0].astype(np.float32))
    if sampled.size:
        values, rows = chosen[sampled], top[sampled].astype(np.float32)
        with np.errstate(invalid="ignore"):
            is_listed = (np.abs(rows - values[:, None]) <= ROUNDING).any(axis=1)
        unusual[sampled] = (values > rows[:, 0]) | ((values > rows[:, -1] + ROUNDING) & ~is_listed)
    return unusual
