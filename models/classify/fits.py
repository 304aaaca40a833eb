"""Classifiers that are fitted again to labelled rows on a schedule: their names, and how one is fitted.

A fit has no state of its own: the same rows, weights and seed give the same fit, so a fit is saved as its rows and made
again. The prediction of a row does not depend on other rows, to the bit. `fit_kinds` has the code of each kind. It
needs scikit-learn, which takes a second to import, so the first fit imports it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.labelled_rows import check_labels

KINDS: tuple[str, ...] = (
    "random_forest",
    "logistic_regression",
    "neural_network",
    "gradient_boosting",
    "published_forest",
)


class Fit(Protocol):
    """A classifier fitted to n labelled rows."""

    @property
    def outside(self) -> Float64s:
        """(n,) P(correct) of the rows it was fitted to, each by a model that has not seen the row."""
        ...

    def probabilities(self, features: Float32s) -> Float64s:
        """(m,) P(correct) of new rows, (m, d)."""
        ...


def fit(kind: str, features: Float32s, correct: Float64s, weight: Float64s, seed: int) -> Fit:
    """Fit to labelled rows.

    Parameters
    ----------
    kind : one of `KINDS`
    features, correct, weight : (n, d) with NaN where absent, (n,) in [0, 1], (n,) positive

    Raises
    ------
    ValueError
        For a kind that is not in the table, or for other shapes or values.

    Examples
    --------
    >>> entropy = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    >>> fitted = fit("logistic_regression", entropy, (entropy[:, 0] < 0.5).astype(float), np.ones(200), seed=0)
    >>> fitted.probabilities(np.array([[0.1], [0.9]], dtype=np.float32)).round(1).tolist()
    [1.0, 0.0]
    """
    if kind not in KINDS:
        raise ValueError(f"no classifier of kind {kind!r}; there are {', '.join(KINDS)}")
    check_labels(features, correct, weight, None)
    from driftgauge.models.classify.fit_kinds import FITS

    return FITS[kind](features, correct, weight, seed)


def libraries() -> dict[str, str]:
    """Versions of the libraries that a fit depends on, by name.

    >>> sorted(libraries())
    ['numpy', 'scikit-learn', 'scipy']
    """
    import sklearn

    return {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}
