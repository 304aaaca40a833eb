"""Four ways in which a new domain can differ, simulated; labelled domains differ from each other as new ones do.

Responses have a difficulty, and the features show it through noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.special import expit

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.signals.feature_sets import FEATURES

Domain: TypeAlias = tuple[Float64s, Float64s]  # what the features show of every response, and whether it is right
Draw: TypeAlias = Callable[[np.random.Generator], Domain]

N_ROWS = 150
_RIGHT_AT = 1.0


def covariate(rng: np.random.Generator) -> Domain:
    """More or fewer hard responses, and the features show it."""
    seen = rng.normal(rng.normal(0, 1), 1, N_ROWS)
    return seen, (rng.random(N_ROWS) < expit(_RIGHT_AT + 1.5 * seen)).astype(float)


def noisy_features(rng: np.random.Generator) -> Domain:
    """More or fewer hard responses, seen through noise."""
    quality = rng.normal(rng.normal(0, 1), 1, N_ROWS)
    return quality + rng.normal(0, 0.8, N_ROWS), (rng.random(N_ROWS) < expit(_RIGHT_AT + 3 * quality)).astype(float)


def label_shift(rng: np.random.Generator) -> Domain:
    """More or fewer right responses; right ones have the features of right ones elsewhere."""
    right = (rng.random(N_ROWS) < expit(rng.normal(0, 1.2))).astype(float)
    return rng.normal(2 * right - 1, 1), right


def style(rng: np.random.Generator) -> Domain:
    """Another wording: features move, correctness does not."""
    seen, right = covariate(rng)
    return seen + rng.normal(0, 0.7), right


def sample(domain: Domain, rng: np.random.Generator, name: str = "", *, is_labelled: bool = False) -> Sample:
    """The responses of a domain with five features and, where wanted, all labels."""
    seen, right = domain
    features = np.full((N_ROWS, len(FEATURES)), np.nan, dtype=np.float32)
    for column in ("entropy_mean", "entropy_max", "nll_mean", "nll_max", "nll_sum"):
        features[:, FEATURES.index(column)] = np.exp(-seen + rng.normal(0, 0.2, N_ROWS))
    correct = right if is_labelled else np.full(N_ROWS, np.nan)
    return Sample(features, np.full(N_ROWS, np.nan), correct, np.ones(N_ROWS), domain=name)
