"""Where the values of responses lie: those of a window against those before it, as histograms over the same bins."""

from __future__ import annotations

import numpy as np

from driftgauge.agent.api.shapes import Shape
from driftgauge.models.arrays import Float64s

N_BINS = 20
COVERED = 0.99
"""The share of all values between the outer edges. Values beyond them count in the outer bins."""


class Distribution(Shape):
    """The values of one quantity in the newest window, and in the responses before it."""

    name: str
    edges: list[float]
    """Of the bins, ascending; values beyond the outer edges count in the outer bins."""
    now: list[float] | None
    """The share of the values of the window in each bin; null where no response has a value."""
    before: list[float] | None
    """The same of the responses before the window."""


def distribution(
    name: str, now: Float64s, before: Float64s, extent: tuple[float, float] | None = None
) -> Distribution | None:
    """Histograms of (n,) and (m,) values, without those that are not finite; None where there is none.

    Parameters
    ----------
    extent : the outer edges; None: those that hold `COVERED` of all values

    Examples
    --------
    >>> found = distribution("p", np.array([0.1, 0.9]), np.array([np.nan]), (0.0, 1.0))
    >>> found.now[1:3], found.before
    ([0.0, 0.5], None)
    """
    now, before = now[np.isfinite(now)], before[np.isfinite(before)]
    both = np.concatenate([now, before])
    if not len(both):
        return None
    low, high = extent or np.quantile(both, [(1 - COVERED) / 2, (1 + COVERED) / 2]).tolist()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, N_BINS + 1)
    return Distribution(name=name, edges=edges.tolist(), now=_shares(now, edges), before=_shares(before, edges))


def _shares(values: Float64s, edges: Float64s) -> list[float] | None:
    if not len(values):
        return None
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [round(float(share), 6) for share in counts / len(values)]
