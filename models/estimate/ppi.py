"""Prediction-powered inference: labels correct the mean of predictions, without trusting them.

Sources: Angelopoulos et al., arXiv 2301.09633 (PPI) and 2311.01453 (PPI++, the tuned form); Zrnic and Candès, arXiv
2403.03208, for labels drawn with unequal probabilities. Intervals are normal approximations, too narrow below some
fifty labels and near accuracy 0 or 1. `judged` corrects a judge by this formula, with intervals for few labels; for the
default estimator it is a baseline, because that one treats few labels exactly.

The papers have n labelled rows and N others: λ · mean of p over the others + mean of (y - λ p) over the labelled ones.
Here the labelled rows are among all M = n + N rows. The same estimate is μ · mean of p over all rows + mean of
(y - μ p) over the labelled ones with μ = λ M / N, and in this form labels can have weights.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from driftgauge.models.arrays import Float64s


def ppi_mean(
    p: Float64s, correct: Float64s, weight: Float64s, confidence_level: float = 0.9, *, tuned: bool = True
) -> tuple[float, float, float]:
    """Accuracy of the source of M responses, and its interval, from at least two labels.

    Parameters
    ----------
    p : (M,) predictions; correct : (M,) labels, NaN = none; weight : (M,) 1 / inclusion probability of the labels, up
        to a factor
    tuned : whether predictions are weighted by their covariance with the labels (PPI++) or by one (PPI)

    Examples
    --------
    >>> import numpy as np
    >>> p = np.tile([0.2, 0.8], 50)
    >>> labels = np.where(np.arange(100) < 20, p > 0.5, np.nan)
    >>> round(ppi_mean(p, labels, np.ones(100))[0], 2)
    0.5
    """
    middle, error = corrected_mean(p, correct, weight, tuned=tuned)
    half = float(ndtri((1 + confidence_level) / 2)) * error
    return float(np.clip(middle, 0, 1)), max(middle - half, 0.0), min(middle + half, 1.0)


def corrected_mean(
    p: Float64s,
    correct: Float64s,
    weight: Float64s,
    p_weight: Float64s | None = None,
    *,
    tuned: bool = True,
    folds: int = 1,
) -> tuple[float, float]:
    """The estimate of `ppi_mean` before it is bounded to [0, 1], and its standard error.

    Parameters
    ----------
    p_weight : (M,) 1 / inclusion probability of the predictions, up to a factor, where they too are of a sample; None:
        all are equal
    folds : with two or more, the weight of the prediction of a labelled row comes from the rows of the other folds.
        Otherwise few labels bias the estimate, because a row has a part in its own weight
    """
    at = np.flatnonzero(~np.isnan(correct))
    y, q, share = correct[at], p[at], weight[at] / weight[at].sum()
    p_share = np.full(len(p), 1 / len(p)) if p_weight is None else p_weight / p_weight.sum()
    n, total = len(at), len(p) if p_weight is None else 1 / float(p_share @ p_share)  # the effective number
    scale, fold = np.ones(n), np.arange(n) % folds
    for k in range(folds if tuned else 0):
        others = fold != k if folds > 1 else fold == k
        scale[fold == k] = _lambda(y[others], q[others], share[others] / share[others].sum(), p, total)
    scale *= total / max(total - n, 1)
    mean = float(p.mean() if p_weight is None else p_share @ p)
    corrected = scale * mean + y - scale * q
    middle = float(share @ corrected)
    # the responses are a sample of their source, and the labelled ones a sample of the responses
    of_source = float(share @ (y - share @ y) ** 2) / total
    of_labelled = float(share * np.maximum(share - p_share[at], 0.0) @ (corrected - middle) ** 2)
    return middle, float(np.sqrt((of_source + of_labelled) * n / (n - 1)))


def _lambda(y: Float64s, q: Float64s, share: Float64s, p: Float64s, total: float) -> float:
    """The paper's λ, in [0, 1]: Cov(y, p) / ((1 + n / N) Var(p)), the covariance over the weighted labelled rows."""
    covariance = float(share @ ((y - share @ y) * (q - share @ q))) * len(y) / (len(y) - 1)
    variance = total / max(total - len(y), 1) * float(p.var(ddof=1))
    return float(np.clip(covariance / variance, 0, 1)) if variance > 0 else 0.0
