"""Average thresholded confidence: the share of responses whose score passes a threshold learned where labels are.

Source: Garg et al., "Leveraging Unlabeled Data to Predict Out-of-Distribution Performance", arXiv 2201.04234. Assumes
that one threshold on one score separates right from wrong responses in every domain. Fails where a domain has another
relation between score and correctness, and is unstable where the source accuracy is near 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float64s


@dataclass(frozen=True, slots=True)
class Threshold:
    """Responses with ``sign * score >= value`` are counted as right.

    ``disagreement`` is the mean distance of that count from the labels it was fitted to: 0 for a score that separates
    right from wrong, about 2 a (1 - a) for a score that is independent of correctness where the accuracy is a.
    """

    sign: float
    value: float
    disagreement: float = 0.0

    def share(self, score: npt.NDArray[np.floating], weight: Float64s | None = None) -> float:
        """Estimated accuracy from (n,) scores; rows without a score are left out; NaN when no row has one.

        ``weight`` (n,) is that of the rows; None: all count alike.
        """
        passes = score >= self.value if self.sign > 0 else score <= -self.value  # False for NaN
        if weight is not None:
            return mean_present(np.where(np.isnan(score), np.nan, passes), weight)
        n_present = len(score) - np.count_nonzero(np.isnan(score))
        return float(np.count_nonzero(passes) / n_present) if n_present else float("nan")


def fit_threshold(
    score: npt.NDArray[np.floating], correct: Float64s, weight: Float64s | None = None
) -> Threshold | None:
    """The threshold that a share of the labelled responses passes which equals the share of right ones.

    Parameters
    ----------
    score, correct : (n,) a score that rises or falls with correctness (the labels give the sign), and labels in
        [0, 1]; rows without a score are left out
    weight : (n,) 1 / inclusion probability of the labels, up to a factor; None: all equal. Both shares are weighted

    Returns
    -------
    None when no row has a score.

    Examples
    --------
    >>> import numpy as np
    >>> entropy, right = np.array([0.1, 0.2, 0.8, 0.9]), np.array([1.0, 1.0, 1.0, 0.0])
    >>> fit_threshold(entropy, right).share(np.array([0.0, 0.15, 2.0, 3.0]))
    0.5
    """
    present = ~np.isnan(score)
    if not present.any():
        return None
    s, y = score[present].astype(np.float64), correct[present]
    w = np.ones(len(s)) if weight is None else weight[present]
    accuracy = float(np.average(y, weights=w))
    ranks = np.argsort(np.argsort(s))
    sign = 1.0 if (w * (ranks - np.average(ranks, weights=w))) @ (y - accuracy) > 0 else -1.0
    value = _quantile(sign * s, w, 1 - accuracy)
    return Threshold(sign, value, float(np.average(np.abs((sign * s >= value) - y), weights=w)))


def mean_present(values: Float64s, weight: Float64s | None = None) -> float:
    """The mean of those of (n,) values that are not NaN, by (n,) weights; NaN when there is none.

    >>> mean_present(np.array([1.0, np.nan, 4.0]), np.array([2.0, 9.0, 1.0]))
    2.0
    """
    present = ~np.isnan(values)
    if not present.any():
        return float("nan")
    return float(np.mean(values[present]) if weight is None else np.average(values[present], weights=weight[present]))


def _quantile(values: Float64s, weight: Float64s, share: float) -> float:
    """The weighted quantile, interpolated; numpy's own where weights are equal."""
    order = np.argsort(values)
    below = np.cumsum(weight[order]) - weight[order]
    return float(np.interp(share * below[-1], below, values[order]))
