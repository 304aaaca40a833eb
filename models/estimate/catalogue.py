"""The table of estimators, by the name that their results carry. A new estimator is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from driftgauge.models.estimate.averaged import Averaged
from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample


class FitEstimator(Protocol):
    """How an estimator is made from the rows of domains; rows without a label are left out."""

    def __call__(self, labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
        """Fit; with too few labels the result may be another estimator, one that needs none."""
        ...


def _corrected_mean(labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
    """It learns nothing from other domains."""
    del labelled, seed
    return CorrectedMean()


_FITS: Mapping[str, FitEstimator] = {CorrectedMean.name: _corrected_mean, Averaged.name: fit_default}
ESTIMATORS: tuple[str, ...] = tuple(_FITS)

DEFAULT_ESTIMATOR = Averaged.name
"""The estimator that the agent fits for every context."""


def new_estimator(name: str, labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
    """Fit an estimator to the rows of domains; ValueError for a name that is not in the table.

    >>> new_estimator("averaged", {}, seed=0).name  # without labels it falls back on the one that needs none
    'corrected_mean'
    """
    if name not in _FITS:
        raise ValueError(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}")
    return _FITS[name](labelled, seed=seed)
