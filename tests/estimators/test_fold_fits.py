"""The fits of a version, and rows that have other features than it was fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.fold_fits import FoldFits
from driftgauge.models.signals.feature_sets import in_width


@pytest.mark.parametrize(("fitted", "asked"), [(17, 17), (17, 22), (22, 17)])
def test_a_row_that_was_fitted_is_recognised_in_another_set_of_features(fitted: int, asked: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 22)).astype(np.float32)
    correct, nothing = (rows[:, 0] > rng.normal(size=200)).astype(float), np.full(200, np.nan)
    fits = FoldFits(
        {"d": Sample(in_width(rows, fitted), nothing, correct, np.ones(200), domain="d")}, "random_forest", 0
    )
    outside = fits.outside(fits.whole)
    assert np.array_equal(fits.predict(in_width(rows, asked), may_be_seen=True), outside)
    assert not np.array_equal(fits.predict(in_width(rows, asked)), outside)
