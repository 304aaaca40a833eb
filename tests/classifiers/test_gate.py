"""The signal gate: which domains a check judges, and that it never learned from them."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.fold_fits import FoldFits
from driftgauge.models.learn.gate import GateCheck, domains_left_out


def labelled(n_domains: int, each: int, *, signal: float, level: float = 0.0, seed: int = 0) -> FoldFits:
    """Rows in which the first feature tells right from wrong, and the second one the level of the domain."""
    rng, n = np.random.default_rng(seed), n_domains * each
    of_domain = np.repeat(rng.normal(0, level, n_domains) if level else np.zeros(n_domains), each)
    features = np.column_stack([rng.normal(size=n), of_domain + rng.normal(0, 0.01, n)]).astype(np.float32)
    right = rng.random(n) < 1 / (1 + np.exp(-signal * features[:, 0] - rng.choice([-1, 1], n_domains).repeat(each)))
    parts = np.arange(n).reshape(n_domains, each)
    none, ones = np.full(each, np.nan), np.ones(each)
    samples = {f"d{i:03}": Sample(features[at], none, right[at].astype(float), ones) for i, at in enumerate(parts)}
    return FoldFits(samples, "random_forest", seed=0)


def checked(fits: FoldFits) -> GateCheck:
    check = domains_left_out(fits.all_left_out())
    assert check
    return check


@pytest.mark.parametrize(("n_domains", "n_folds"), [(2, 2), (3, 3), (4, 4), (250, 4)])
def test_every_domain_is_judged_once_by_a_fit_that_left_it_out(n_domains: int, n_folds: int) -> None:
    fits = labelled(n_domains, 20, signal=2.0)
    assert len(fits.folds) == n_folds
    assert sorted(domain for fold in fits.folds for domain in fold) == sorted(fits.whole)
    assert all(not {*fits.without(fold)} & {*fold} for fold in fits.folds)
    assert checked(fits).n_domains > 0.9 * n_domains


def test_what_only_tells_the_domains_apart_that_were_learned_is_no_signal() -> None:
    check = checked(labelled(20, 60, signal=0.0, level=3.0))
    assert check.problem(0.6)


def test_a_signal_in_many_domains_is_found_and_its_absence_too() -> None:
    assert checked(labelled(100, 20, signal=2.0)).problem(0.6) is None
    assert checked(labelled(100, 20, signal=0.0)).problem(0.6)


def test_domains_with_few_labels_or_labels_of_one_kind_are_not_judged() -> None:
    fits = labelled(4, 40, signal=2.0)
    assert domains_left_out(fits.all_left_out(), min_labels=41) is None
    pairs = list(fits.all_left_out())
    pairs[0][0].correct[:] = 1.0
    check = domains_left_out(pairs)
    assert check
    assert (check.n_domains, check.n_labels) == (3, 120)
