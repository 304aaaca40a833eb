"""The checks that every kind of fit must pass."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.fit_kinds import CrossFitted, Predict
from driftgauge.models.classify.fits import KINDS, Fit, fit
from tests.classifiers.labelled import USEFUL, Labels, labels

kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.fit_kinds._TREES", 20)


def fitted(kind: str, rows: Labels, seed: int = 3) -> Fit:
    return fit(kind, *rows, seed)


def brier(p: Float64s, correct: Float64s) -> float:
    return float(np.mean((p - correct) ** 2))


@kinds
def test_new_responses_are_predicted_better_than_by_a_constant(kind: str) -> None:
    features, correct, _ = labels(600, seed=2)
    p = fitted(kind, labels(800, seed=1)).probabilities(features)
    assert ((p >= 0) & (p <= 1)).all()
    assert brier(p, correct) < USEFUL * np.var(correct)


@kinds
def test_the_prediction_of_a_row_does_not_depend_on_other_rows_to_the_bit(kind: str) -> None:
    model, features = fitted(kind, labels(300)), labels(200, seed=5)[0]
    together = model.probabilities(features)
    alone = np.concatenate([model.probabilities(features[i : i + 1]) for i in range(0, 200, 9)])
    assert alone.tobytes() == together[::9].tobytes()
    assert model.probabilities(features[:0]).shape == (0,)


def test_a_network_predicts_many_rows_as_it_predicts_few(monkeypatch: pytest.MonkeyPatch) -> None:
    model, features = fitted("neural_network", labels(300)), labels(200, seed=5)[0]
    together = model.probabilities(features)
    monkeypatch.setattr("driftgauge.models.classify.fit_kinds._ROWS_AT_ONCE", 7)
    assert model.probabilities(features).tobytes() == together.tobytes()


@kinds
def test_the_same_labels_and_seed_give_the_same_fit_and_another_seed_gives_another_forest(kind: str) -> None:
    features = labels(100, seed=7)[0]
    first, second = (fitted(kind, labels(400)) for _ in range(2))
    assert first.probabilities(features).tobytes() == second.probabilities(features).tobytes()
    assert first.outside.tobytes() == second.outside.tobytes()
    if "forest" in kind or "network" in kind:
        other = fitted(kind, labels(400), seed=99).probabilities(features)
        assert other.tobytes() != first.probabilities(features).tobytes()


@kinds
def test_rows_it_was_fitted_to_get_probabilities_from_models_that_have_not_seen_them(kind: str) -> None:
    features, _, weight = labels(400, d=40)
    noise = (np.random.default_rng(11).random(400) < 0.5).astype(float)  # nothing to learn, so it can only be memorised
    model = fitted(kind, (features, noise, weight))
    assert brier(model.outside, noise) > 0.24
    if kind != "published_forest":  # its sigmoid, fitted to held-out rows, finds that there is nothing to learn
        assert brier(model.probabilities(features), noise) < brier(model.outside, noise) - 0.02


@kinds
def test_a_graded_label_does_not_leak_into_its_own_probability(kind: str) -> None:
    features, _, weight = labels(400, d=40)
    graded = np.random.default_rng(12).uniform(0.1, 0.9, 400)
    outside = fitted(kind, (features, graded, weight)).outside
    assert abs(np.corrcoef(outside, graded)[0, 1]) < 3.3 / np.sqrt(400)


@kinds
def test_predictions_stay_finite_and_useful_after_hostile_features(kind: str) -> None:
    features, correct, weight = labels(800, seed=1)
    largest = float(np.finfo(np.float32).max)
    hostile: tuple[float, ...] = (np.nan, np.inf, -np.inf, largest, -largest, 1e-45, -0.0)
    for i, value in enumerate(hostile):
        features[i * 100 : i * 100 + 3] = value
    model = fitted(kind, (features, correct, weight))
    for value in hostile:
        p = model.probabilities(np.full((2, 17), value, dtype=np.float32))
        assert ((p >= 0) & (p <= 1)).all()
    features, correct, _ = labels(600, seed=2)
    assert brier(model.probabilities(features), correct) < USEFUL * np.var(correct)


@kinds
def test_predictions_are_useful_when_some_features_are_always_missing(kind: str) -> None:
    features, correct, weight = labels(800, seed=1)
    features[:, 5:11] = np.nan
    model = fitted(kind, (features, correct, weight))
    features, correct, _ = labels(400, seed=2)
    assert brier(model.probabilities(features), correct) < USEFUL * np.var(correct)


@kinds
def test_soft_labels_are_learned_as_probabilities(kind: str) -> None:
    model = fitted(kind, labels(800, seed=1, soft=True))
    features, p, _ = labels(400, seed=2, soft=True, holes=0.0)
    assert brier(model.probabilities(features), p) < USEFUL * np.var(p)


@kinds
def test_a_label_of_weight_three_counts_as_three_labels(kind: str) -> None:
    correct = (np.random.default_rng(0).random(900) < 0.5).astype(float)
    features = np.zeros((900, 2), dtype=np.float32)
    p = fitted(kind, (features, correct, np.where(correct == 1, 3.0, 1.0))).probabilities(features[:1])[0]
    if kind == "published_forest":  # its calibration counts the weights, its balance removes them
        assert 0.5 < p < 0.9
    else:
        assert p == pytest.approx(0.75, abs=0.06)


@kinds
@pytest.mark.parametrize("n_wrong", [0, 1, 2])
def test_almost_all_labels_right_give_a_high_probability(kind: str, n_wrong: int) -> None:
    features, _, weight = labels(60)
    model = fitted(kind, (features, np.r_[np.zeros(n_wrong), np.ones(60 - n_wrong)], weight))
    assert model.probabilities(features).mean() > (0.4 if kind == "published_forest" else 0.8)
    assert np.isfinite(model.outside).all()


def test_an_unknown_kind_or_a_bad_label_raises() -> None:
    features, correct, weight = labels(3)
    with pytest.raises(ValueError, match="no classifier of kind 'oracle'; there are random_forest, "):
        fit("oracle", features, correct, weight, 0)
    bad_rows: list[Labels] = [
        (features, np.array([1.0, 0.0, 1.5]), weight),
        (features, np.array([1.0, np.nan, 0.0]), weight),
        (features, correct, np.array([1.0, 0.0, 1.0])),
        (features, correct, np.array([1.0, np.inf, 1.0])),
        (features, correct[:2], weight),
        (features[0], correct, weight),
    ]
    for bad in bad_rows:
        with pytest.raises(ValueError, match=r"correct|weight|features"):
            fit("random_forest", *bad, 0)


def test_fits_and_predictions_of_new_and_of_fitted_rows_run_on_one_thread() -> None:
    seen: list[int] = []

    def look() -> None:
        pools = ThreadpoolController().select(user_api="openmp").lib_controllers
        seen.extend(pool.num_threads for pool in pools if "scikit" in pool.filepath)

    def fit_level(_x: Float32s, _y: Float64s, _weight: Float64s, _seed: int) -> Predict:
        look()

        def predict(rows: Float32s) -> Float64s:
            look()
            return np.full(len(rows), 0.5)

        return predict

    made = CrossFitted(fit_level, np.zeros((8, 1), dtype=np.float32), np.arange(8.0) // 2 % 2, np.ones(8), seed=0)
    assert len(made.probabilities(np.zeros((3, 1), dtype=np.float32))) == len(made.outside[:3])
    assert seen == [1] * 6  # three fits, and a prediction by each
