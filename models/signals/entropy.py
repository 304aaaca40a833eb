"""The entropy of a position from the log-probabilities of its k listed alternatives.

Owns the two sums from which everything else follows: of p and of p ln p over the alternatives. Each position is summed
alone, so that its result does not depend on the other positions. Float16 has only 65,536 values: for those both terms
are read from one table of half a megabyte, at half the cost of widening the numbers and computing their exponential.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Floats
from driftgauge.models.events import Signal

EntropyVariant: TypeAlias = Literal["published", "renormalised", "lower_bound"]

CACHED_POSITIONS = 8_192
"""Positions processed together: enough to outweigh the cost of a call, and, with 20 alternatives, few enough for a
core's caches."""


def _terms_of_float16() -> npt.NDArray[np.complex64]:
    """Terms p + i p ln p by the bits of ln p: as one complex number, a pair takes one look-up and one addition.

    0 for NaN and the infinities, which mean that there is no alternative.
    """
    logp = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    logp[~np.isfinite(logp)] = -1e3
    with np.errstate(over="ignore"):
        p = np.exp(logp)
        pairs = np.column_stack([p, p * logp]).astype(np.float32)
    terms: npt.NDArray[np.complex64] = pairs.view(np.complex64)[:, 0]
    return terms


_TERMS = _terms_of_float16()


def precision_of(top_logprobs: Floats) -> npt.DTypeLike:
    """The precision in which log-probabilities are kept: float16 where the producer sent float16, else float32."""
    return np.float16 if top_logprobs.dtype == np.float16 else np.float32


def alternative_sums(top_logprobs: Floats) -> Float32s:
    """Sums over the alternatives of every position.

    Parameters
    ----------
    top_logprobs : (T, k) natural logs, any order; NaN or -inf where there is no such alternative

    Returns
    -------
    (T, 2) float32: the sum of p, and the sum of p ln p; NaN where a position has no alternative at all.

    Examples
    --------
    >>> import numpy as np
    >>> alternative_sums(np.log([[0.5, 0.5], [0.9, 0.05]])).round(3).tolist()
    [[1.0, -0.6930000185966492], [0.949999988079071, -0.24500000476837158]]
    """
    logp = np.asarray(top_logprobs)
    logp = logp.astype(precision_of(logp), copy=False)
    if not logp.shape[1]:
        return np.full((len(logp), 2), np.nan, dtype=np.float32)
    # a look-up needs four times the memory of the exponential: more than the allocator keeps from call to call
    n_at_once = CACHED_POSITIONS // 4 if logp.dtype == np.float16 else CACHED_POSITIONS
    if len(logp) <= n_at_once:
        return _sums(np.ascontiguousarray(logp))
    starts = range(0, len(logp), n_at_once)
    return np.concatenate([_sums(np.ascontiguousarray(logp[start : start + n_at_once])) for start in starts])


def _sums(logp: Floats) -> Float32s:
    # einsum sums each row alone, in the same order whatever the number of rows; a matrix product does not
    if logp.dtype == np.float16:
        sums: Float32s = np.einsum("tk->t", _TERMS.take(logp.view(np.uint16))).view(np.float32).reshape(-1, 2)
    else:
        sums = _sums_of_float32(logp)
    nothing = np.flatnonzero(sums[:, 0] == 0)
    if nothing.size:
        sums[nothing[~np.isfinite(logp[nothing]).any(axis=1)]] = np.nan
    return sums


def _sums_of_float32(logp: Floats) -> Float32s:
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.exp(logp)
        sums = _sums_of_products(p, logp)
        holes = np.flatnonzero(~np.isfinite(sums[:, 1]))
        if holes.size:
            absent = ~np.isfinite(logp[holes])
            sums[holes] = _sums_of_products(np.where(absent, 0, p[holes]), np.where(absent, 0, logp[holes]))
    return sums


def _sums_of_products(p: Floats, logp: Floats) -> Float32s:
    return np.column_stack([np.einsum("tk->t", p), np.einsum("tk,tk->t", p, logp)])


def entropy_profile(top_logprobs: Floats, variant: EntropyVariant = "published") -> Float32s:
    """Shannon entropy in nats at every position, from the log-probabilities of the k likeliest tokens.

    Parameters
    ----------
    top_logprobs : (T, k) natural logs, any order; NaN or -inf where there is no such alternative
    variant : with p the k probabilities and r = 1 - sum(p) the tail mass,
        ``published``: -sum p ln p; ``renormalised``: the same for p / sum(p);
        ``lower_bound``: -sum p ln p - r ln r, the tail counted as one more token

    Returns
    -------
    (T,) float32, NaN where a position has no alternative at all.

    Examples
    --------
    >>> import numpy as np
    >>> entropy_profile(np.log([[0.5, 0.5], [0.9, 0.1]])).round(3).tolist()
    [0.6930000185966492, 0.32499998807907104]
    >>> entropy_profile(np.array([[0.0, -np.inf], [np.nan, np.nan]])).tolist()
    [0.0, nan]
    """
    return entropy_from(alternative_sums(top_logprobs), variant)


def entropy_from(sums: Float32s, variant: EntropyVariant = "published") -> Float32s:
    """(T,) entropy in nats, from `alternative_sums`."""
    mass, entropy = sums[:, 0], np.float32(0) - sums[:, 1]  # a certain token has 0.0, not -0.0
    if variant == "published":
        return entropy
    if variant == "renormalised":
        mass = np.where(mass == 0, np.float32(np.nan), mass)
        return np.asarray(np.maximum(entropy / mass + np.log(mass), 0), dtype=np.float32)
    tail = np.clip(1 - mass, np.float32(1e-7), None)
    return np.asarray(entropy - tail * np.log(tail), dtype=np.float32)


def tail_mass(sums: Float32s) -> Float32s:
    """Probability outside the listed alternatives, (T,), in [0, 1]; NaN where nothing is listed.

    ``sums`` are `alternative_sums`.

    >>> import numpy as np
    >>> tail_mass(alternative_sums(np.log([[0.5, 0.25]]))).tolist()
    [0.25]
    """
    return np.clip(1 - sums[:, 0], 0, 1)


def sums_of(signal: Signal) -> Float32s | None:
    """`alternative_sums` of a signal, which the normaliser may have computed already; None without alternatives."""
    if signal.alternative_sums is not None or signal.top_logprobs is None:
        return signal.alternative_sums
    return alternative_sums(signal.top_logprobs)
