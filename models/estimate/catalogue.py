"""The table of estimators, by the name that their results carry. A new estimator is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from driftgauge.models.estimate.averaged import Averaged
from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample

FitEstimator: TypeAlias = Callable[[Mapping[str, Sample], int], Estimator]
"""From the rows of each domain and a seed to an estimator; with too few labels it may fall back on another one."""

_FITS: Mapping[str, FitEstimator] = {
    CorrectedMean.name: lambda labelled, seed: CorrectedMean(),
    Averaged.name: lambda labelled, seed: fit_default(labelled, seed=seed),
}
ESTIMATORS: tuple[str, ...] = tuple(_FITS)

DEFAULT_ESTIMATOR = Averaged.name
"""What the agent fits for every context."""


def new_estimator(name: str, labelled: Mapping[str, Sample], *, seed: int) -> Estimator:
    """Fit an estimator to the rows of domains (rows without a label are left out).

    Raises
    ------
    ValueError
        For a name that is not in the table.

    Examples
    --------
    >>> new_estimator("averaged", {}, seed=0).name  # without labels it falls back on the one that needs none
    'corrected_mean'
    """
    if name not in _FITS:
        raise ValueError(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}")
    return _FITS[name](labelled, seed)
