"""How far a domain may shift from its label-free estimate: the scale of the prior of `recalibrate`.

The scale of a domain is c times the spread of its candidates (`spread`). c is learned from the domains that a fit left
out: by the probability of their labels under each of seven values of c, which a prior holds together, because two to
four domains say little about the next one. `docs/estimators.md` has the coverage that this reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.recalibration import ShiftPrior, log_evidence

FREEDOM = 5.0
NOTHING_LEFT_OUT = 1.63
"""c for a new domain where only one domain has labels."""

OWN_DOMAIN = 2.6
"""c for the only labelled domain itself: nothing was left out, so its candidates agree more than they should."""

MAX_LEFT_OUT = 100
"""Domains from which c is learned, some millisecond each; at even distances where there are more."""

_STEPS = np.linspace(-2, 2, 7)
_SCALES = 1.2 * np.exp(0.4 * _STEPS)
_LOG_PRIOR = -(_STEPS**2) / 2
_SPREAD_FLOOR = 0.5  # logits; candidates that agree may all be wrong


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """A labelled domain as the fit without it estimates it: (n,) probabilities, their level, and the spread."""

    sample: Sample
    p: Float64s
    level: float
    spread: float


def spread(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted standard deviation of the candidates on the logit scale, with a floor added in square.

    >>> equal = {"forest": 0.5, "surprisal": 0.5}
    >>> round(spread({"forest": 0.9, "surprisal": 0.7}, equal), 2), spread({"forest": 0.8, "surprisal": 0.8}, equal)
    (0.84, 0.5)
    """
    weight, logits = np.array([weights[name] for name in values]), _logits(np.array(list(values.values())))
    variance = weight @ (logits - weight @ logits / weight.sum()) ** 2 / weight.sum()
    return float(np.hypot(np.sqrt(variance), _SPREAD_FLOOR))


def learned_scale(left_out: Sequence[LeftOut], dispersion: float) -> float:
    """The factor c of the module, learned from domains that were left out; `NOTHING_LEFT_OUT` without any.

    ``dispersion`` is that of the labels, see `ShiftPrior`.
    """
    if not left_out:
        return NOTHING_LEFT_OUT
    log_weight = _LOG_PRIOR.copy()
    for at in np.unique(np.linspace(0, len(left_out) - 1, MAX_LEFT_OUT).astype(np.intp)):
        domain = left_out[at]
        priors = [ShiftPrior(scale=float(c) * domain.spread, freedom=FREEDOM, dispersion=dispersion) for c in _SCALES]
        log_weight += log_evidence(domain.p, domain.sample.correct, domain.sample.weight, priors, domain.level)
    weight = np.exp(log_weight - log_weight.max())
    return float(np.sqrt(weight @ _SCALES**2 / weight.sum()))


def _logits(accuracy: Float64s) -> Float64s:
    return np.asarray(logit(np.clip(accuracy, 0.02, 0.98)))
