"""Embeddings of any width to unit vectors of `N_DIMENSIONS` numbers, so that what is kept of them is bounded.

Owns the random projections: one for each width, from a fixed seed, so every process makes the same one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from driftgauge.models.arrays import Float32s, Floats

N_DIMENSIONS = 64
MIN_WIDTH, MAX_WIDTH = 2, 4_096
"""Numbers of an embedding that can be used."""

_SEED = 19


def reduced(embedding: Float32s) -> Float32s | None:
    """The direction of an embedding, as a unit vector.

    A Gaussian random projection keeps cosines up to a random error: near 0 its standard deviation is
    1 / sqrt(`N_DIMENSIONS`), and it shrinks as the cosine grows (Johnson and Lindenstrauss 1984; Dasgupta and Gupta
    2003). Embeddings of another width are projected in another way, so they resemble nothing seen before.

    Parameters
    ----------
    embedding : (d,) float32, `MIN_WIDTH` <= d <= `MAX_WIDTH`

    Returns
    -------
    (64,) float32 of length 1; None where the embedding has another width, no length, or a number that is not finite.

    Examples
    --------
    >>> [round(float(x), 1) for x in reduced(np.array([3.0, 4.0], dtype=np.float32))[:3]]
    [0.6, 0.8, 0.0]
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 384)).astype(np.float32)
    >>> near = float(np.dot(reduced(a), reduced(a + b / 2)))
    >>> reduced(a).shape, abs(near - 1 / 1.25**0.5) < 0.1, reduced(np.zeros(384, dtype=np.float32))
    ((64,), True, None)
    """
    if embedding.ndim != 1 or not MIN_WIDTH <= len(embedding) <= MAX_WIDTH:
        return None
    largest = float(np.abs(embedding).max())
    if not 0 < largest < np.inf:  # also false for NaN
        return None
    direction: Floats = np.zeros(N_DIMENSIONS, dtype=np.float32)
    if len(embedding) <= N_DIMENSIONS:
        direction[: len(embedding)] = embedding / largest
    else:
        direction = (embedding / largest) @ _projection(len(embedding))
    length = np.linalg.norm(direction)
    return None if length == 0 else np.asarray(direction / length, dtype=np.float32)


@lru_cache(maxsize=8)
def _projection(width: int) -> Float32s:
    """(width, `N_DIMENSIONS`); up to 1 MiB."""
    return np.random.default_rng([_SEED, width]).standard_normal((width, N_DIMENSIONS), dtype=np.float32)
