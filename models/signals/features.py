"""From token log-probabilities to features: the entropy profile of a response and its 17 published summaries.

Owns the numbers that classifiers and estimators read. Everything is vectorised over ragged batches (responses of
different lengths laid end to end), and the features of a response do not depend on the others in its batch, to the
bit. `accumulator.Accumulator` gives the same numbers for a response that arrives in pieces. Source of the formulas:
Entropy Sentinel, arXiv 2601.09001. Missing stays missing: a summary without a single usable token is NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s, Floats, Int64s
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

QUANTILES = np.array([0.10, 0.25, 0.50, 0.75, 0.90])
EPSILON = 1e-8
LARGEST = float(np.finfo(np.float32).max)


def summarize(entropy: Floats, nll: Floats, offsets: Offsets) -> Float64s:
    """The 17 summaries of n responses laid end to end.

    Parameters
    ----------
    entropy, nll : (T,) entropy in nats and negative log-probability of the chosen token; NaN where missing
    offsets : (n + 1,) response i owns ``[offsets[i], offsets[i + 1])``

    Returns
    -------
    (n, 17) float64 in the order of `FEATURES`. Summaries without a usable token are NaN. With one token, std, skewness
    and kurtosis are 0.

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
    """Values without the missing ones; offsets of the responses that still have values; indices of these responses."""
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
    h -= np.repeat(mean, n)  # powers are computed in place: a new array for each doubles the cost
    squares = h * h
    std = np.sqrt(np.add.reduceat(squares, starts) / np.maximum(n - 1, 1))
    h *= squares
    squares *= squares
    third, fourth = np.add.reduceat(h, starts) / n, np.add.reduceat(squares, starts) / n
    shape = (third / (std**3 + EPSILON), fourth / (std**4 + EPSILON))
    return np.column_stack([mean, std, *_order_statistics(entropy, offsets), *shape, total])


def _order_statistics(entropy: Floats, offsets: Offsets) -> Float64s:
    """(6, n) the maximum, and the quantiles by linear interpolation between neighbours."""
    ordered = entropy.copy()  # in the precision of the input: half the bytes to sort
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        ordered[start:stop].sort()
    place = (np.diff(offsets) - 1) * QUANTILES[:, None]
    below = np.floor(place).astype(np.int64)
    low = ordered[offsets[:-1] + below].astype(np.float64)
    high = ordered[offsets[:-1] + np.ceil(place).astype(np.int64)].astype(np.float64)
    return np.asarray(np.vstack([ordered[offsets[1:] - 1], low + (high - low) * (place - below)]), dtype=np.float64)


def _nll_summaries(values: Floats, offsets: Offsets) -> Float64s:
    nll = values.astype(np.float64)
    starts = offsets[:-1]
    total = np.add.reduceat(nll, starts)
    mean = total / np.diff(offsets)
    weighted = nll * np.log(nll + EPSILON)
    return np.column_stack([
        mean, np.maximum.reduceat(nll, starts), total,
        np.add.reduceat(weighted, starts), np.maximum.reduceat(weighted, starts),
        np.exp(np.minimum(mean, np.log(LARGEST))),
    ])  # fmt: skip


def profiles(signals: Sequence[Signal], variant: EntropyVariant = "published") -> tuple[Float32s, Float32s, Offsets]:
    """Entropy and negative log-probability of all tokens of a batch, as `summarize` takes them.

    Returns
    -------
    (T,) entropy in nats and (T,) negative log-probability, NaN where missing; (n + 1,) offsets of the n responses
    """
    lengths = [signal.n_tokens for signal in signals]
    offsets = np.array([0, *itertools.accumulate(lengths)], dtype=np.int64)
    entropy = entropy_from(_sums(signals, offsets), variant)
    for i, signal in enumerate(signals):
        if signal.form == "entropy":
            entropy[offsets[i] : offsets[i + 1]] = signal.entropy
    missing = np.full(max(lengths, default=0), np.nan, dtype=np.float32)
    chosen = [missing[: s.n_tokens] if s.chosen_logprobs is None else s.chosen_logprobs for s in signals]
    # a log-probability just above 0 is a certain token with a rounding error
    nll = np.maximum(0 - np.concatenate([missing[:0], *chosen], dtype=np.float32), 0)
    return entropy, nll, offsets


def _sums(signals: Sequence[Signal], offsets: Offsets) -> Float32s:
    """(T, 2) `alternative_sums` of all tokens, computed for neighbours together; NaN without alternatives."""
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
    """Runs of neighbours with arrays of one kind, each with its number of tokens.

    A run has at most as many tokens as a core's own cache holds, or one response.

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
    the whole response, its reasoning, its answer (NaN where the payload does not separate them).

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
