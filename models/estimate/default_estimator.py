"""Makes the default estimator, `Averaged`, from labelled rows; with too few of them, the one that needs none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftgauge.models.estimate.averaged import fit_averaged
from driftgauge.models.estimate.dispersion import label_dispersion
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, LabelsOnly, Sample
from driftgauge.models.estimate.fold_fits import MIN_ROWS, FoldFits, thinned

DEFAULT_KIND = "random_forest"
"""The classifier that carries predictions and estimates unless the settings name another one."""

_ENOUGH = 30  # labelled rows of all domains together that a fit needs


def fit_default(labelled: Mapping[str, Sample], *, seed: int, kind: str = DEFAULT_KIND) -> Estimator:
    """Fit the default estimator to the rows of any number of domains; rows without a label are left out.

    With too few labels, or labels that are all equal, the result is `CorrectedMean`.

    >>> features = np.linspace(0, 1, 40, dtype=np.float32)[:, None].repeat(17, axis=1)
    >>> right = (features[:, 0] < 0.5).astype(float)
    >>> rows = Sample(features, np.full(40, np.nan), right, np.ones(40))
    >>> fit_default({"law": rows}, seed=0, kind="logistic_regression").name, fit_default({}, seed=0).name
    ('averaged', 'corrected_mean')
    """
    samples = thinned(labelled)
    if not _is_enough(samples):
        return CorrectedMean()
    return estimator_of(FoldFits(samples, kind, seed))


def estimator_of(fits: FoldFits) -> Estimator:
    """The default estimator whose probabilities come from these fits, or from fits to those of the rows that count."""
    counting = fits.counting
    if counting is fits:
        return _averaged(fits) or CorrectedMean()
    made = _averaged(counting) if counting and _is_enough(counting.samples) else None
    return made or LabelsOnly()


def _averaged(fits: FoldFits) -> Estimator | None:
    if max(map(len, fits.samples.values())) < MIN_ROWS:
        return None
    correct = np.concatenate([sample.correct for sample in fits.samples.values()])
    return fit_averaged(fits.samples, fits, fits.folds, label_dispersion(correct, fits.outside(fits.whole)))


def _is_enough(samples: Mapping[str, Sample]) -> bool:
    correct = np.concatenate([np.empty(0), *(sample.correct for sample in samples.values())])
    return len(correct) >= _ENOUGH and bool(correct.min() < correct.max())
