"""The rules for listed log-probabilities: columns of any server's tokens become one `Signal`.

Nothing is guessed and nothing is dropped silently: a value that cannot be used is missing (NaN), and counted under a
reason in `Signal.problems`. A token whose log-probability is at or below `SENTINEL` beside real alternatives was less
likely than all of them: it is *censored*, and carries the smallest alternative as its bound. `MAX_CELLS` bounds the
memory for rows of very different lengths.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from driftgauge.connectors.decoding.formats.payload import PayloadError, Tokens
from driftgauge.models.arrays import Bools, Float32s, Floats, UInt8s
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import alternative_sums, precision_of

SENTINEL = -9998.0
"""Servers write -9999 for "not available"."""

NOT_A_NUMBER = -1e6
"""A value below it, such as the lowest float32, stands for minus infinity."""

ROUNDING = 1e-3
"""Tolerance for the rounding of a log-probability, or of a sum of probabilities."""

MAX_CELLS = 2**26
_SAME = 1e-6

_MISSING = np.float32(np.nan)
_SIGN = np.uint16(0x8000)  # of a float16
Mask = Bools


def raw_signal(tokens: Tokens) -> Signal:
    """The columns of these tokens as arrays, each alternative once; `apply_rules` normalises them.

    Raises `PayloadError` where padding the rows would take too much memory.
    """
    problems: dict[str, int] = {}
    flat = floats(tokens.top)
    flat = np.where(np.isnan(flat), np.float32(-np.inf), flat) if np.isnan(flat).any() else flat
    top = _without_repetitions(_rows(flat, tokens.counts), tokens, problems)
    return Signal(floats(tokens.chosen), top, segments=_segments(tokens.segments), problems=problems)


def apply_rules(raw: Signal) -> Signal:
    """Normalise a signal of (T,) chosen and (T, k) alternative log-probabilities in any order; NaN where one is absent.

    Float16 alternatives stay float16: their sums must not depend on whether another token is unusual.

    >>> import numpy as np
    >>> signal = apply_rules(Signal(np.array([-9999.0]), np.array([[-0.5, -1.5]])))
    >>> signal.chosen_logprobs.tolist(), signal.n_censored
    ([-1.5], 1)
    """
    problems = dict(raw.problems)
    chosen, top = _wide(raw.chosen_logprobs), _wide(raw.top_logprobs)
    precision = None if raw.top_logprobs is None else precision_of(raw.top_logprobs)
    censored: Mask | None = None
    sums: Float32s | None = None
    if chosen is not None:
        _count(problems, {"null_logprob": np.isnan(chosen)})
    if top is not None:
        _count_copies(top, problems)
        top, chosen = _without_fillers(top, chosen, problems)
        top = sorted_rows(top)
    if chosen is not None:
        chosen, censored = _usable_chosen(chosen, top, problems)
        if top is not None:
            top = _with_chosen(top, chosen, problems)
    if top is not None:
        top, sums = _without_excess(top.astype(precision, copy=False), problems)
    return replace(
        raw, chosen_logprobs=chosen, top_logprobs=top, censored=censored, problems=problems, alternative_sums=sums
    )


def _wide(values: Floats | None) -> Float32s | None:
    """The same as float32; None for an array without columns."""
    return None if values is None or not all(values.shape[1:]) else values.astype(np.float32, copy=False)


def floats(values: Sequence[Any]) -> Float32s:
    """(n,) float32; null, text that is not a number and any other value that is not one become NaN.

    >>> floats([-0.5, None, "NaN", "-Infinity", {}]).tolist()
    [-0.5, nan, nan, -inf, nan]
    """
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=np.float32)
        if array.ndim == 1:
            return array
    except (TypeError, ValueError, OverflowError):
        pass
    with np.errstate(over="ignore"):
        return np.array([_float(value) for value in values], dtype=np.float32)


def _float(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else np.nan
    except (ValueError, OverflowError):
        return np.nan


def _rows(flat: Float32s, counts: Sequence[int]) -> Float32s:
    """(T, k) in the order listed; NaN fills the end of shorter rows."""
    k = max(counts, default=0)
    if k * len(counts) == len(flat):
        return flat.reshape(len(counts), k)
    if k * len(counts) > MAX_CELLS:
        raise PayloadError("too_many_alternatives", f"{len(counts)} tokens, one of them with {k} alternatives")
    rows = np.full((len(counts), k), _MISSING)
    rows[np.arange(k) < np.array(counts)[:, None]] = flat
    return rows


def _segments(segments: Sequence[int]) -> UInt8s | None:
    return np.array(segments, dtype=np.uint8) if any(segments) else None


# --- repeated or lost alternatives -------------------------------------------------------------------------------


def _without_repetitions(top: Float32s, tokens: Tokens, problems: dict[str, int]) -> Float32s:
    """Keep each alternative once: by id where the server gives ids, else by text and value."""
    if top.shape[1] < 2:
        return top
    has_ids = isinstance(tokens.chosen_names[0], int)
    try:
        repeated = _repeated_cells(
            _cells_of_repeated_ids(tokens) if has_ids else _tied_cells(top), top, tokens, has_ids
        )
    except TypeError:  # a name that is a list or an object: it tells nothing apart
        repeated = []
    if repeated:
        problems["duplicate_alternative"] = len(repeated)
        top = top.copy()
        top[tuple(np.array(repeated).T)] = _MISSING
    _count_short_rows(tokens.counts, repeated, problems)
    return top


def _cells_of_repeated_ids(tokens: Tokens) -> Iterator[tuple[int, int]]:
    """Cells of the rows in which an id occurs twice."""
    start = 0
    for row, count in enumerate(tokens.counts):
        if len(set(tokens.top_names[start : start + count])) < count:
            yield from ((row, column) for column in range(count))
        start += count


def _tied_cells(top: Float32s) -> Iterator[tuple[int, int]]:
    """Cells whose value occurs more than once in their row: only these can be the same token."""
    order = None if in_order(top).all() else np.argsort(-top, axis=1, kind="stable")
    ordered = top if order is None else np.take_along_axis(top, order, axis=1)
    tied = np.zeros(top.shape, dtype=bool)
    tied[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > SENTINEL)
    if not tied.any():
        return iter(())
    tied[:, :-1] |= tied[:, 1:]
    rows, columns = np.nonzero(tied)
    columns = columns if order is None else order[rows, columns]
    return zip(rows.tolist(), columns.tolist(), strict=True)


def _repeated_cells(
    cells: Iterable[tuple[int, int]], top: Float32s, tokens: Tokens, has_ids: bool
) -> list[tuple[int, int]]:
    starts: list[int] = []
    seen: set[Hashable] = set()
    found = []
    for row, column in cells:
        starts = starts or [0, *accumulate(tokens.counts)]  # hardly any response has such cells
        name = tokens.top_names[starts[row] + column]
        identity = (row, name) if has_ids else (row, name, float(top[row, column]))
        if identity in seen:
            found.append((row, column))
        seen.add(identity)
    return found


def _count_short_rows(counts: Sequence[int], repeated: Sequence[tuple[int, int]], problems: dict[str, int]) -> None:
    """Count rows with fewer distinct alternatives than most: maps keyed by text lose tokens with the same text."""
    if min(counts) == max(counts) and not repeated:
        return
    distinct = np.array(counts)
    usual = np.bincount(distinct[distinct > 0]).argmax()
    np.subtract.at(distinct, [row for row, _ in repeated], 1)
    if short := int(((distinct > 0) & (distinct < usual)).sum()):
        problems["topk_short"] = short


def _count_copies(top: Float32s, problems: dict[str, int]) -> None:
    """Count neighbours with identical alternatives: some servers copy the list of the first token of a step."""
    alike = np.flatnonzero(top[1:, 0] == top[:-1, 0])
    if alike.size and top.shape[1] > 1:
        one, other = top[alike], top[alike + 1]
        same = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
        real = ((one > SENTINEL) & (one < 0)).sum(axis=1) > 1  # not a certain token among fillers
        if copied := int((same & real).sum()):
            problems["copied_topk"] = copied


# --- values that cannot be used-------------------------------------------------------------------------------------


def _without_fillers(
    top: Float32s, chosen: Float32s | None, problems: dict[str, int]
) -> tuple[Float32s, Float32s | None]:
    """Drop placeholder alternatives; a position with a positive value holds no log-probabilities at all."""
    if top.size == 0 or (top.max() <= 0 and top.min() > SENTINEL):  # NaN makes both false
        return top, chosen
    positive = np.asarray((top > ROUNDING).any(axis=1))
    filler = top <= SENTINEL
    is_last_one = filler.any(axis=1) & ((top > SENTINEL).sum(axis=1) == 1) & (np.fmax.reduce(top, axis=1) == 0)
    _count(problems, {
        "positive_alternative": positive,
        "filler_alternative": filler & np.isfinite(top),
        "null_alternative": np.isneginf(top),
        "certain_after_processing": is_last_one,
    })  # fmt: skip
    if chosen is not None and positive.any():
        chosen = np.where(positive, np.float32(np.inf), chosen)  # not a log-probability, whatever its value
    return np.where(filler | positive[:, None], _MISSING, np.minimum(top, 0)), chosen


def _count(problems: dict[str, int], kinds: Mapping[str, Mask]) -> None:
    for reason, where in kinds.items():
        if count := int(where.sum()):
            problems[reason] = problems.get(reason, 0) + count


def in_order(top: Floats) -> Mask:
    """(T * k,) whether the next value of the row, if there is one, is not larger.

    The end of a row is compared with the start of the next too, which is faster than leaving it out.
    """
    flat: npt.NDArray[Any] = top.reshape(-1)
    if top.dtype == np.float16:  # bits compare at a tenth of the cost; those of a negative number rise as it falls
        flat = ~(flat.view(np.uint16) | _SIGN)
    falls = np.ones(len(flat), dtype=bool)
    np.less_equal(flat[1:], flat[:-1], out=falls[:-1])
    falls[top.shape[1] - 1 :: top.shape[1]] = True
    return falls


def sorted_rows(top: Float32s) -> Float32s:
    """Rows from the likeliest down, NaN last.

    >>> sorted_rows(np.array([[-2.0, np.nan, -1.0]])).tolist()
    [[-1.0, -2.0, nan]]
    """
    return -np.sort(-top, axis=1)


def _usable_chosen(chosen: Float32s, top: Float32s | None, problems: dict[str, int]) -> tuple[Float32s, Mask | None]:
    """Chosen log-probabilities, NaN where missing and the bound where censored; and which tokens are censored."""
    if chosen.size == 0:
        return chosen, None
    chosen = _without_contradicted_zeros(chosen, top, problems)
    if chosen.max() <= 0 and chosen.min() > SENTINEL:
        return chosen, None
    bound = np.full(len(chosen), _MISSING) if top is None else np.fmin.reduce(top, axis=1)
    is_sentinel = (chosen <= SENTINEL) & (chosen > NOT_A_NUMBER)
    censored = is_sentinel & ~np.isnan(bound)
    missing = {
        "positive_logprob": chosen > ROUNDING,
        "minus_infinity": chosen <= NOT_A_NUMBER,
        "sentinel_logprob": is_sentinel & ~censored,
    }
    _count(problems, {**missing, "censored_logprob": censored})
    is_missing = np.logical_or.reduce(list(missing.values()))
    settled = np.where(is_missing, _MISSING, np.where(censored, bound, np.minimum(chosen, 0)))
    return settled, censored if censored.any() else None


def _without_contradicted_zeros(chosen: Float32s, top: Float32s | None, problems: dict[str, int]) -> Float32s:
    """Make missing a log-probability of 0 that its alternatives contradict: it is a default value of the server."""
    zeros = np.flatnonzero(chosen == 0)
    if top is None or not zeros.size:
        return chosen
    highest = np.nan_to_num(top[zeros, 0], nan=0.0)
    wrong = zeros[highest < -_SAME]
    wrong = wrong[np.nansum(np.exp(top[wrong]), axis=1) > 10 * ROUNDING]
    if wrong.size:
        problems["filler_logprob"] = len(wrong)
        chosen = chosen.copy()
        chosen[wrong] = _MISSING
    return chosen


# --- the rows of the entropy -------------------------------------------------------------------------------------


def _with_chosen(top: Float32s, chosen: Float32s, problems: dict[str, int]) -> Float32s:
    """Add the chosen token to its alternatives where the server leaves it out although it is one of the likeliest k.

    It was left out if it is likelier than the last alternative and no alternative has its value. It is not added
    where the probabilities would exceed 1: then the two come from different distributions.
    """
    candidates = np.flatnonzero(chosen != top[:, 0])
    if not candidates.size:
        return top
    rows, values = top[candidates], chosen[candidates]
    is_one = (values > np.fmin.reduce(rows, axis=1) + ROUNDING) & ~(np.abs(rows.T - values) <= ROUNDING).any(axis=0)
    candidates = candidates[is_one]
    mass = np.nansum(np.exp(top[candidates]), axis=1) + np.exp(chosen[candidates])
    candidates = candidates[mass <= 1 + ROUNDING]
    if not candidates.size:
        return top
    problems["chosen_not_listed"] = len(candidates)
    extra = np.full((len(top), 1), _MISSING)
    extra[candidates, 0] = chosen[candidates]
    return sorted_rows(np.concatenate([top, extra], axis=1))


def _without_excess(top: Floats, problems: dict[str, int]) -> tuple[Floats, Float32s]:
    """Make missing the rows whose probabilities exceed 1 in sum, and return the sums of all rows."""
    sums = alternative_sums(top)
    excess = sums[:, 0] > 1 + ROUNDING
    if excess.any():
        problems["mass_gt_one"] = int(excess.sum())
        top, sums[excess] = np.where(excess[:, None], top.dtype.type(np.nan), top), np.nan
    return top, sums
