"""Entropy, tail mass and varentropy of a position, from the log-probabilities of its k listed alternatives.

Owns the three sums from which everything else follows: of p, of p ln p and of p (ln p)^2 over the alternatives. Each
position is summed alone, so that its result does not depend on the other positions. Float16 has only 65,536 values: for
those the terms are read from tables of less than a megabyte, which costs less than the exponential of wider numbers.
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


N_SUMS = 3


def _terms_of_float16() -> tuple[npt.NDArray[np.complex64], Float32s]:
    """Terms p + i p ln p, and p (ln p)^2, by the bits of ln p.

    As one complex number, a pair takes one look-up and one addition. All are 0 for NaN and the infinities, which mean
    that there is no alternative.
    """
    logp = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    logp[~np.isfinite(logp)] = -1e3
    with np.errstate(over="ignore"):
        p = np.exp(logp)
        pairs = np.column_stack([p, p * logp]).astype(np.float32)
        squares = (p * logp * logp).astype(np.float32)
    terms: npt.NDArray[np.complex64] = pairs.view(np.complex64)[:, 0]
    return terms, squares


_TERMS, _SQUARES = _terms_of_float16()


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
    (T, 3) float32: the sums of p, of p ln p and of p (ln p)^2; NaN where a position has no alternative at all.

    Examples
    --------
    >>> import numpy as np
    >>> alternative_sums(np.log([[0.5, 0.5], [0.9, 0.05]])).round(3).tolist()
    [[1.0, -0.6930000185966492, 0.47999998927116394], [0.949999988079071, -0.24500000476837158, 0.45899999141693115]]
    """
    logp = np.asarray(top_logprobs)
    logp = logp.astype(precision_of(logp), copy=False)
    if not logp.shape[1]:
        return np.full((len(logp), N_SUMS), np.nan, dtype=np.float32)
    # a look-up needs four times the memory of the exponential: more than the allocator keeps from call to call
    n_at_once = CACHED_POSITIONS // 4 if logp.dtype == np.float16 else CACHED_POSITIONS
    if len(logp) <= n_at_once:
        return _sums(np.ascontiguousarray(logp))
    starts = range(0, len(logp), n_at_once)
    return np.concatenate([_sums(np.ascontiguousarray(logp[start : start + n_at_once])) for start in starts])


def _sums(logp: Floats) -> Float32s:
    # einsum sums each row alone, in the same order whatever the number of rows; a matrix product does not
    sums = _sums_of_float16(logp) if logp.dtype == np.float16 else _sums_of_float32(logp)
    nothing = np.flatnonzero(sums[:, 0] == 0)
    if nothing.size:
        sums[nothing[~np.isfinite(logp[nothing]).any(axis=1)]] = np.nan
    return sums


def _sums_of_float16(logp: Floats) -> Float32s:
    bits = logp.view(np.uint16).astype(np.intp)
    pairs = np.einsum("tk->t", _TERMS.take(bits))
    return _columns(pairs.real, pairs.imag, np.einsum("tk->t", _SQUARES.take(bits)))


def _sums_of_float32(logp: Floats) -> Float32s:
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.exp(logp)
        sums = _sums_of_products(p, logp)
        holes = np.flatnonzero(~np.isfinite(sums[:, 1]))
        if holes.size:
            at = logp[holes]
            absent = ~np.isfinite(at)
            sums[holes] = _sums_of_products(np.where(absent, 0, np.exp(at)), np.where(absent, 0, at))
    return sums


def _sums_of_products(p: Floats, logp: Floats) -> Float32s:
    """The sums; ``p`` is overwritten, which saves a large array."""
    mass = np.einsum("tk->t", p)
    p *= logp
    return _columns(mass, np.einsum("tk->t", p), np.einsum("tk,tk->t", p, logp))


def _columns(*columns: Float32s) -> Float32s:
    """(T, 3) with each column in one piece of memory, because they are read one by one."""
    return np.array(columns, dtype=np.float32).T


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


def varentropy(sums: Float32s) -> Float32s:
    """Variance of -ln p under the listed alternatives, their probabilities scaled to sum 1.

    It is 0 where one alternative has all of the listed mass, and where all are equally likely. It is large where one
    token is likely and many unlikely ones share the rest. Source of the term: Kontoyiannis and Verdu, arXiv 1212.2668.

    Parameters
    ----------
    sums : `alternative_sums`

    Returns
    -------
    (T,) float32 in square nats, at least 0; NaN where nothing is listed or all listed probabilities are 0.

    >>> import numpy as np
    >>> varentropy(alternative_sums(np.log([[0.5, 0.5], [0.9, 0.1]]))).round(3).tolist()
    [0.0, 0.4350000023841858]
    """
    mass = sums[:, 0]
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        variance, mean = sums[:, 2] / mass, sums[:, 1] / mass
    mean *= mean
    variance -= mean
    return np.asarray(np.maximum(variance, 0, out=variance), dtype=np.float32)


def sums_of(signal: Signal) -> Float32s | None:
    """`alternative_sums` of a signal, which the normaliser may have computed already; None without alternatives."""
    if signal.alternative_sums is not None or signal.top_logprobs is None:
        return signal.alternative_sums
    return alternative_sums(signal.top_logprobs)
