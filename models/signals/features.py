"""From token log-probabilities to features: the profile of a response, token by token, and its summaries.

Owns the numbers that classifiers and estimators read. Everything is vectorised over ragged batches (responses of
different lengths laid end to end), and the features of a response do not depend on the others in its batch, to the
bit. `accumulator.Accumulator` gives the same numbers for a response that arrives in pieces. Source of the 17 published
formulas: Entropy Sentinel, arXiv 2601.09001. The extended set adds mean and maximum of the tail mass, and mean, maximum
and sum of the varentropy. Missing stays missing: a summary without a single usable token is NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Bools, Float32s, Float64s, Floats, Int64s, UInt8s
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN, Signal
from driftgauge.models.signals.entropy import (
    CACHED_POSITIONS,
    N_SUMS,
    EntropyVariant,
    alternative_sums,
    entropy_from,
    tail_mass,
    varentropy,
)
from driftgauge.models.signals.feature_sets import (
    DEFAULT_SPEC,
    ENTROPY_FEATURES,
    NLL_FEATURES,
    FeatureSet,
    FeatureSpec,
    in_width,
)

Offsets: TypeAlias = Int64s

QUANTILES = np.array([0.10, 0.25, 0.50, 0.75, 0.90])
EPSILON = 1e-8
LARGEST = float(np.finfo(np.float32).max)

TOKENS_AT_ONCE = 1 << 16
"""Tokens whose features are computed together. The memory of longer columns goes back to the system after each use; to
get it anew takes as long as the features."""


class Profile(NamedTuple):
    """The tokens of n responses laid end to end: one number for each token, (T,) float32, NaN where missing.

    Attributes
    ----------
    entropy : nats
    nll : negative log-probability of the chosen token, at least 0
    tail_mass : probability outside the listed alternatives, in [0, 1]
    varentropy : variance of -ln p under the listed alternatives, square nats
    """

    entropy: Floats
    nll: Floats
    tail_mass: Floats
    varentropy: Floats

    def where(self, wanted: Bools) -> Profile:
        """The profile in which only the ``wanted`` tokens, (T,), are present; the others become NaN."""
        return Profile(*(np.where(wanted, column, np.float32(np.nan)) for column in self))


def summarize(profile: Profile, offsets: Offsets, feature_set: FeatureSet = "extended") -> Float64s:
    """The summaries of n responses laid end to end.

    Parameters
    ----------
    profile : of all T tokens
    offsets : (n + 1,) response i owns ``[offsets[i], offsets[i + 1])``

    Returns
    -------
    (n, d) float64, the columns of the set. Summaries without a usable token are NaN. With one token, std, skewness
    and kurtosis are 0.

    Examples
    --------
    >>> import numpy as np
    >>> nothing = np.full(2, np.nan)
    >>> profile = Profile(np.array([0.0, 1.0]), np.array([0.5, 1.5]), nothing, nothing)
    >>> table = summarize(profile, np.array([0, 2]))
    >>> dict(zip(DEFAULT_SPEC.names, table[0].round(3).tolist()))["entropy_std"]
    0.707
    """
    formulas = _SUMMARIES if feature_set == "extended" else _SUMMARIES[:2]
    parts = []
    for values, (width, formula) in zip(profile, formulas, strict=False):
        part = np.full((len(offsets) - 1, width), np.nan)
        usable, ends, rows = _usable(values, offsets)
        if len(rows):
            part[rows] = formula(usable, ends)
        parts.append(part)
    return np.concatenate(parts, axis=1)


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


def _tail_mass_summaries(values: Floats, offsets: Offsets) -> Float64s:
    mass = values.astype(np.float64)
    starts = offsets[:-1]
    return np.column_stack([np.add.reduceat(mass, starts) / np.diff(offsets), np.maximum.reduceat(mass, starts)])


def _varentropy_summaries(values: Floats, offsets: Offsets) -> Float64s:
    variance = values.astype(np.float64)
    starts = offsets[:-1]
    total = np.add.reduceat(variance, starts)
    return np.column_stack([total / np.diff(offsets), np.maximum.reduceat(variance, starts), total])


_SUMMARIES: tuple[tuple[int, Callable[[Floats, Offsets], Float64s]], ...] = (
    (len(ENTROPY_FEATURES), _entropy_summaries), (len(NLL_FEATURES), _nll_summaries),
    (2, _tail_mass_summaries), (3, _varentropy_summaries),
)  # fmt: skip
"""Number of summaries of each column of a `Profile`, and how they are made; the published set has the first two."""


def profiles(signals: Sequence[Signal], variant: EntropyVariant = "published") -> tuple[Profile, Offsets]:
    """The profile of all tokens of a batch, as `summarize` takes it, and the (n + 1,) offsets of its responses."""
    lengths = [signal.n_tokens for signal in signals]
    offsets = np.array([0, *itertools.accumulate(lengths)], dtype=np.int64)
    sums = _sums(signals, offsets)
    entropy = entropy_from(sums, variant)
    for i, signal in enumerate(signals):
        if signal.form in ("entropy", "vocabulary_entropy"):
            entropy[offsets[i] : offsets[i + 1]] = signal.entropy
    missing = np.full(max(lengths, default=0), np.nan, dtype=np.float32)
    chosen = [missing[: s.n_tokens] if s.chosen_logprobs is None else s.chosen_logprobs for s in signals]
    # a log-probability just above 0 is a certain token with a rounding error
    nll = np.maximum(0 - np.concatenate([missing[:0], *chosen], dtype=np.float32), 0)
    return Profile(entropy, nll, tail_mass(sums), varentropy(sums)), offsets


def _sums(signals: Sequence[Signal], offsets: Offsets) -> Float32s:
    """(T, 3) `alternative_sums` of all tokens, computed for neighbours together; NaN without alternatives."""
    sums = np.full((N_SUMS, offsets[-1]), np.nan, dtype=np.float32).T
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
    """The arrays that are present, end to end; None where none is."""
    present = [array for array in arrays if array is not None]
    return (np.concatenate(present) if len(present) > 1 else present[0]) if present else None


def extract(signals: Sequence[Signal], spec: FeatureSpec = DEFAULT_SPEC) -> Float32s:
    """Features of a batch of responses.

    Returns
    -------
    (n, d) float32, the columns of ``spec.names``. Features that a producer computed are taken as they are.

    Examples
    --------
    >>> import numpy as np
    >>> one = extract([Signal(chosen_logprobs=np.log([0.5, 0.25]))])[0]
    >>> round(float(one[DEFAULT_SPEC.names.index("nll_sum")]), 3)
    2.079
    """
    return np.concatenate([_table(part, spec) for part in _in_parts(signals)])


def _in_parts(signals: Sequence[Signal]) -> Iterator[Sequence[Signal]]:
    """Neighbours with few enough tokens to be taken together, or one response; at least one part."""
    start, n_tokens = 0, 0
    for i, signal in enumerate(signals):
        n_tokens += (n := signal.n_tokens)
        if n_tokens > TOKENS_AT_ONCE and i > start:
            yield signals[start:i]
            start, n_tokens = i, n
    yield signals[start:]


def _table(signals: Sequence[Signal], spec: FeatureSpec) -> Float32s:
    """`extract` of the responses of one part."""
    profile, offsets = profiles(signals, spec.entropy)
    table = summarize(profile, offsets, spec.set)
    whole = table.shape[1]
    if spec.segments:
        segments = _segments(signals, offsets)
        parts = (profile.where(segments == part) for part in (SEGMENT_REASONING, SEGMENT_ANSWER))
        table = np.concatenate([table, *(summarize(part, offsets, spec.set) for part in parts)], axis=1)
    for i, signal in enumerate(signals):
        if signal.features is not None:
            table[i, :whole] = in_width(signal.features[None], whole)[0]
    return table.astype(np.float32)


def _segments(signals: Sequence[Signal], offsets: Offsets) -> UInt8s:
    """(T,) the segment of every token."""
    segments = np.full(offsets[-1], SEGMENT_UNKNOWN, dtype=np.uint8)
    for i, signal in enumerate(signals):
        if signal.segments is not None:
            segments[offsets[i] : offsets[i + 1]] = signal.segments
    return segments
