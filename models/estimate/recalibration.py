"""Recalibration: the labels of a domain correct the probabilities of its responses on the logit scale.

Owns the exact small-sample treatment of labels. With l = logit p(correct) of a response, the truth is modelled as
``logit p' = a l + c(a) + b``: slope ``a`` from a short list (0.03: the signal is useless inside this domain); c(a)
such that without a shift the mean equals the label-free estimate; shift ``b`` with a Student t prior whose scale comes
from earlier domains. Labels enter by their likelihood; only the sampling noise of unlabelled responses is approximated
by a normal distribution. Without labels the interval follows from the prior alone. Cost: a histogram of the window and
two small tensor products, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, logsumexp, ndtri

from driftgauge.models.arrays import Float64s

_SLOPES = np.array([0.03, 0.25, 0.5, 0.75, 1.0, 1.4])
_CENTRES = np.arange(-64, 65) / 8.0  # logit p of a bin
_OFFSETS = np.arange(-112, 113) / 12.0  # values of the constant term, c(a) + b
_LOGIT_LIMIT = float(_CENTRES[-1])
_FINE = 2**16


@dataclass(frozen=True, slots=True)
class ShiftPrior:
    """The prior of the shift between a domain's accuracy and its label-free estimate, on the logit scale.

    Attributes
    ----------
    scale, freedom : of the Student t distribution of the shift
    slopes : weights of the listed slopes
    dispersion : Var(y - p) over the mean of p (1 - p): 1 for labels that are 0 or 1, less for graded ones
    """

    scale: float = 1.0
    freedom: float = 5.0
    slopes: tuple[float, ...] = (1, 1, 1, 1, 2, 1)
    dispersion: float = 1.0


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """Accuracy of a window with its interval; ``parts`` are the standard errors behind it (accuracy scale)."""

    accuracy: float
    ci_low: float
    ci_high: float
    parts: Mapping[str, float]


@cache
def _tables() -> tuple[Float64s, Float64s, Float64s, Float64s]:
    """p', p' (1 - p'), the logarithms of p' and of 1 - p', each (slopes, offsets, bins)."""
    z = _SLOPES[:, None, None] * _CENTRES + _OFFSETS[:, None]
    p = expit(z)
    return p, p * (1 - p), -np.logaddexp(0, -z), -np.logaddexp(0, z)


def recalibrate(
    p: Float64s,
    correct: Float64s,
    weight: Float64s,
    prior: ShiftPrior,
    confidence_level: float,
    level: float | None = None,
) -> Recalibrated:
    """Mean accuracy of n responses, some of them labelled.

    Parameters
    ----------
    p : (n,) probabilities of being correct before the labels; NaN counts as an average response of the window
    correct, weight : (n,) labels in [0, 1], NaN = none, and their weights (scaled to the effective number of labels)
    level : the label-free estimate of the accuracy; None: the mean of ``p``

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.where(np.arange(300) < 60, 0.0, np.nan)  # sixty labels, all wrong
    >>> result = recalibrate(np.full(300, 0.9), labels, np.ones(300), ShiftPrior(), 0.9)
    >>> result.accuracy < 0.05 and result.ci_high < 0.1
    True
    """
    bins = _binned(p)
    labelled = ~np.isnan(correct)
    unlabelled = np.bincount(bins[~labelled], minlength=len(_CENTRES)).astype(np.float64)
    everything = unlabelled + np.bincount(bins[labelled], minlength=len(_CENTRES))
    if level is None:
        level = float(expit(_CENTRES) @ everything / everything.sum())
    y = correct[labelled]
    posterior = _log_prior(prior, _shifts(level, everything / everything.sum()))
    posterior = posterior + _log_likelihood(bins[labelled], y, weight[labelled], prior.dispersion)
    posterior = np.exp(posterior - posterior.max())
    return _summary(posterior / posterior.sum(), unlabelled, y, prior.dispersion, confidence_level)


def log_evidence(
    p: Float64s, correct: Float64s, weight: Float64s, priors: Sequence[ShiftPrior], level: float
) -> Float64s:
    """(priors,) logarithm of the probability of n labels under each prior, up to one constant.

    Parameters
    ----------
    p, correct, weight, level : of a domain whose responses all have labels, as for `recalibrate`
    priors : of one dispersion
    """
    bins = _binned(p)
    shifts = _shifts(level, np.bincount(bins, minlength=len(_CENTRES)) / len(bins))
    likelihood = _log_likelihood(bins, correct, weight, priors[0].dispersion)
    return np.array([logsumexp(_log_prior(prior, shifts) + likelihood) for prior in priors])


def _log_likelihood(
    bins: npt.NDArray[np.intp], correct: Float64s, weight: Float64s, dispersion: float
) -> Float64s | float:
    """(slopes, offsets) logarithm of the likelihood of labels, given the bins of their responses."""
    if not len(correct):
        return 0.0
    weight = weight * (weight.sum() / (weight**2).sum())
    right = np.bincount(bins, weights=weight * correct, minlength=len(_CENTRES))
    wrong = np.bincount(bins, weights=weight * (1 - correct), minlength=len(_CENTRES))
    _, _, log_right, log_wrong = _tables()
    return np.asarray((log_right @ right + log_wrong @ wrong) / dispersion)


def _binned(p: Float64s) -> npt.NDArray[np.intp]:
    """The bin of every response on the logit scale."""
    missing = np.isnan(p)
    if missing.any():
        middle = 0.5 if missing.all() else expit(np.mean(logit(np.clip(p[~missing], 1e-6, 1 - 1e-6))))
        p = np.where(missing, middle, p)
    return _bin_table()[(p * _FINE).astype(np.intp)]


@cache
def _bin_table() -> npt.NDArray[np.intp]:
    """(_FINE + 1,) the bin of a probability in steps of 1 / _FINE; a look-up costs a tenth of a logarithm."""
    p = np.clip((np.arange(_FINE + 1) + 0.5) / _FINE, 0, 1 - 0.5 / _FINE)
    values = np.clip(logit(p), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return np.rint((values + _LOGIT_LIMIT) * 8).astype(np.intp)


def _shifts(level: float, share: Float64s) -> Float64s:
    """(slopes, offsets) the shift ``b`` at every grid point; ``share`` (bins,) of the responses sums to 1."""
    means = _tables()[0] @ share
    unshifted = np.array([np.interp(level, row, _OFFSETS) for row in means])
    return np.asarray(_OFFSETS - unshifted[:, None])


def _log_prior(prior: ShiftPrior, shifts: Float64s) -> Float64s:
    """(slopes, offsets) logarithm of the prior weight of every grid point; comparable between scales."""
    slopes = np.asarray(prior.slopes, dtype=np.float64)
    student = -(prior.freedom + 1) / 2 * np.log1p((shifts / prior.scale) ** 2 / prior.freedom) - np.log(prior.scale)
    return np.asarray(student + np.log(slopes / slopes.sum())[:, None])


def _summary(
    posterior: Float64s, unlabelled: Float64s, labels: Float64s, dispersion: float, confidence_level: float
) -> Recalibrated:
    n = unlabelled.sum() + len(labels)
    probability, variance, _, _ = _tables()
    accuracy = ((probability @ unlabelled + labels.sum()) / n).ravel()
    noise = (variance @ unlabelled).ravel() * dispersion / n**2
    weights = posterior.ravel()
    order = np.argsort(accuracy)
    level = np.cumsum(weights[order]) - weights[order] / 2
    tails = ((1 - confidence_level) / 2, 0.5, (1 + confidence_level) / 2)
    low, middle, high = np.interp(tails, level, accuracy[order])
    sampling = float(np.sqrt(weights @ noise))
    mean = float(weights @ accuracy)
    margin = float(ndtri(tails[2])) * sampling
    return Recalibrated(
        float(middle),
        float(max(middle - np.hypot(middle - low, margin), labels.sum() / n)),
        float(min(middle + np.hypot(high - middle, margin), (labels.sum() + unlabelled.sum()) / n)),
        {"sampling": sampling, "between_domains": float(np.sqrt(max(weights @ accuracy**2 - mean**2, 0.0)))},
    )
