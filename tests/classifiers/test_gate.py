"""The signal gate: which domains a check judges, that it never learned from them, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.arrays import Float32s, Float64s, Strings
from driftgauge.models.classify.gate import MAX_FOLDS, GateCheck, domains_left_out
from driftgauge.models.classify.refitted import SparseLogisticRegression

Labelled = tuple[Float32s, Float64s, Float64s, Strings]


def labelled(n_domains: int, each: int, *, signal: float, level: float = 0.0, seed: int = 0) -> Labelled:
    """Rows in which the first feature tells right from wrong, and the second one the level of the domain."""
    rng, n = np.random.default_rng(seed), n_domains * each
    of_domain = np.repeat(rng.normal(0, level, n_domains) if level else np.zeros(n_domains), each)
    features = np.column_stack([rng.normal(size=n), of_domain + rng.normal(0, 0.01, n)]).astype(np.float32)
    correct = rng.random(n) < 1 / (1 + np.exp(-signal * features[:, 0] - rng.choice([-1, 1], n_domains).repeat(each)))
    return features, correct.astype(np.float64), np.ones(n), np.repeat([f"d{i:03}" for i in range(n_domains)], each)


def checked(rows: Labelled) -> GateCheck:
    check = domains_left_out(*rows)
    assert check
    return check


@pytest.mark.parametrize(("n_domains", "n_fits"), [(3, 3), (MAX_FOLDS, MAX_FOLDS), (250, MAX_FOLDS)])
def test_the_number_of_fits_does_not_grow_with_the_number_of_domains(
    monkeypatch: pytest.MonkeyPatch, n_domains: int, n_fits: int
) -> None:
    fitted = []

    class Counted(SparseLogisticRegression):
        def refit(self, features: Float32s, correct: Float64s, weight: Float64s) -> None:
            fitted.append(len(correct))
            super().refit(features, correct, weight)

    monkeypatch.setattr("driftgauge.models.classify.gate.SparseLogisticRegression", Counted)
    check = checked(labelled(n_domains, 20, signal=2.0))
    assert len(fitted) == n_fits
    assert check.n_domains > 0.9 * n_domains


def test_what_only_tells_the_domains_apart_that_were_learned_is_no_signal() -> None:
    check = checked(labelled(4, 40, signal=0.0, level=3.0))
    assert check.auroc < 0.5
    assert check.problem(0.6)


def test_a_signal_in_many_domains_is_found_and_its_absence_too() -> None:
    assert checked(labelled(100, 20, signal=2.0)).problem(0.6) is None
    assert checked(labelled(100, 20, signal=0.0)).problem(0.6)
