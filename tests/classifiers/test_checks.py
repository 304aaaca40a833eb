"""The checks that every entry of the table of classifiers must pass."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.linear_model import LogisticRegression as RiverLogisticRegression

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.catalogue import KINDS, new_classifier, restore_classifier
from driftgauge.models.classify.classifier import SNAPSHOT, Classifier, ClassifierSettings, compressed
from driftgauge.models.classify.online import AdaptiveRandomForest, LogisticRegression, _set_weights
from driftgauge.models.classify.refitted import Refitted
from driftgauge.models.saved_format import NewerStateError
from driftgauge.models.signals.feature_sets import LAYOUTS, in_width

SETTINGS = ClassifierSettings(seed=3)
REFITTED = [kind for kind in KINDS if isinstance(new_classifier(kind, SETTINGS), Refitted)]
USEFUL = 0.85  # of the Brier score of the constant share of right ones
kinds = pytest.mark.parametrize("kind", KINDS)

Labels = tuple[Float32s, Float64s, Float64s]


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.refitted.N_TREES", 20)


def labels(n: int, *, seed: int = 0, d: int = 17, soft: bool = False, holes: float = 0.05) -> Labels:
    """Labels that depend on the first two features; some features are missing, weights are between 1 and 4."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(2.0, 1.0, size=(n, d)).astype(np.float32)
    p = 1 / (1 + np.exp(2.0 * (features[:, 0] + features[:, 1] - 3.5)))
    correct = p if soft else (rng.random(n) < p).astype(float)
    features[rng.random((n, d)) < holes] = np.nan
    return features, correct, rng.choice([1.0, 2.0, 4.0], n)


def trained(kind: str, all_labels: Labels, cuts: tuple[int, ...] = (), start: Classifier | None = None) -> Classifier:
    """A classifier that learned the labels in batches that end at the cuts; refitted kinds are fitted to all labels."""
    features, correct, weight = all_labels
    classifier = start or new_classifier(kind, SETTINGS)
    bounds = [0, *sorted(cuts), len(all_labels[1])]
    for first, last in itertools.pairwise(bounds):
        classifier.learn(features[first:last], correct[first:last], weight[first:last])
    if isinstance(classifier, Refitted):
        classifier.refit(features, correct, weight)
    return classifier


@kinds
def test_without_right_and_wrong_labels_there_is_a_reason_and_no_prediction(kind: str) -> None:
    features, correct, weight = labels(50)
    classifier = trained(kind, (features, np.ones(50), weight))
    assert "of each kind" in (classifier.not_ready() or "")
    assert np.isnan(classifier.predict_proba(features)).all()
    classifier = trained(kind, (features, correct, weight), start=classifier)
    assert classifier.not_ready() is None
    assert np.isfinite(classifier.predict_proba(features)).all()


@kinds
def test_new_responses_are_predicted_better_than_by_a_constant(kind: str) -> None:
    classifier = trained(kind, labels(800, seed=1))
    features, correct, _ = labels(600, seed=2)
    p = classifier.predict_proba(features)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.mean((p - correct) ** 2) < USEFUL * np.var(correct)


@kinds
def test_the_prediction_of_a_row_does_not_depend_on_other_rows_to_the_bit(kind: str) -> None:
    classifier = trained(kind, labels(300))
    features = labels(200, seed=5)[0]
    together = classifier.predict_proba(features)
    alone = np.concatenate([classifier.predict_proba(features[i : i + 1]) for i in range(0, 200, 9)])
    assert alone.tobytes() == together[::9].tobytes()
    assert classifier.predict_proba(features[:0]).shape == (0,)


@kinds
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 160), max_size=6))
def test_batch_boundaries_do_not_change_a_classifier_to_the_bit(kind: str, cuts: list[int]) -> None:
    all_labels = labels(160, seed=4)
    whole, pieces = trained(kind, all_labels), trained(kind, all_labels, tuple(cuts))
    assert whole.snapshot() == pieces.snapshot()
    features = labels(50, seed=6)[0]
    assert whole.predict_proba(features).tobytes() == pieces.predict_proba(features).tobytes()


@kinds
def test_a_restored_classifier_continues_like_one_never_saved_to_the_bit(kind: str) -> None:
    features = labels(100, seed=7)[0]
    uninterrupted = trained(kind, labels(200))
    restored = restore_classifier(uninterrupted.snapshot())
    assert restored.kind == kind
    assert (restored.n_updates, restored.n_labels) == (uninterrupted.n_updates, uninterrupted.n_labels)
    assert restored.snapshot() == uninterrupted.snapshot()
    for _ in range(2):
        assert restored.predict_proba(features).tobytes() == uninterrupted.predict_proba(features).tobytes()
        trained(kind, labels(150, seed=8), start=uninterrupted)
        trained(kind, labels(150, seed=8), start=restored)


@kinds
def test_the_same_labels_and_seed_give_the_same_classifier_and_another_seed_gives_another_forest(kind: str) -> None:
    features = labels(100, seed=7)[0]
    first, second = (trained(kind, labels(400)).predict_proba(features).tobytes() for _ in range(2))
    assert first == second
    if "forest" in kind:
        other = trained(kind, labels(400), start=new_classifier(kind, ClassifierSettings(seed=99)))
        assert other.predict_proba(features).tobytes() != first


@kinds
def test_a_snapshot_holds_plain_values_and_a_damaged_snapshot_raises_a_clear_error(kind: str) -> None:
    blob = trained(kind, labels(100)).snapshot()
    assert SNAPSHOT.unpack(blob)[0] == kind
    for damaged in (b"", b"\x80\x04K\x01.", blob[: len(blob) // 2], SNAPSHOT.pack([kind, SETTINGS, {}])):
        with pytest.raises(ValueError, match=r"snapshot|saved classifier"):
            restore_classifier(damaged)
    with pytest.raises(NewerStateError, match=r"classifier has format 99: use driftgauge 9\.0\.0 or newer"):
        restore_classifier(msgspec.msgpack.encode([99, "9.0.0", [kind, SETTINGS, {}]]))
    with pytest.raises(ValueError, match="no classifier of kind"):
        restore_classifier(SNAPSHOT.pack(["nonsense", SETTINGS, {}]))


@kinds
def test_a_bad_label_raises_and_nothing_of_its_batch_is_learned(kind: str) -> None:
    classifier = trained(kind, labels(100))
    before = classifier.snapshot()
    features, correct, weight = labels(3)
    for bad in (
        (features, np.array([1.0, 0.0, 1.5]), weight),
        (features, np.array([1.0, np.nan, 0.0]), weight),
        (features, correct, np.array([1.0, 0.0, 1.0])),
        (features, correct, np.array([1.0, np.inf, 1.0])),
        (features, correct[:2], weight),
        (features[:, :5], correct, weight),
        (features[0], correct, weight),
    ):
        with pytest.raises(ValueError, match=r"correct|weight|features"):
            classifier.learn(*bad)
    with pytest.raises(ValueError, match="features"):
        classifier.predict_proba(features[:, :5])
    assert classifier.snapshot() == before


@kinds
def test_labels_of_another_set_of_features_are_learned_as_rows_without_its_columns(kind: str) -> None:
    narrow, wide, (new, _, _) = labels(150), labels(150, seed=1, d=22), labels(50, seed=2, d=22)
    features = np.concatenate([in_width(narrow[0], 22), wide[0]])
    correct, weight = np.concatenate([narrow[1], wide[1]]), np.concatenate([narrow[2], wide[2]])
    classifier = restore_classifier(trained(kind, narrow).snapshot())
    assert (classifier.predict_proba(new) == classifier.predict_proba(new[:, :17])).all()
    classifier.learn(*wide)
    if isinstance(classifier, Refitted):
        classifier.refit(features, correct, weight)
    expected = trained(kind, (features, correct, weight))
    assert (classifier.predict_proba(new) == expected.predict_proba(new)).all()
    assert np.isfinite(classifier.predict_proba(new[:, :17])).all()


def test_columns_that_the_new_set_does_not_have_leave_the_logistic_regression() -> None:
    classifier = LogisticRegression(SETTINGS)
    classifier.learn(*labels(100, d=51))
    kept = {j: classifier.average[j] for j in range(17)}
    classifier.learn(in_width(labels(1)[0], 66), np.ones(1), np.ones(1))
    assert all({LAYOUTS[66][j] for j in part} == {*LAYOUTS[51]} for part in _parts(classifier))
    classifier.learn(in_width(labels(1)[0], 22), np.ones(1), np.ones(1))
    assert all({*part} == {*range(17)} for part in _parts(classifier))
    assert classifier.average == pytest.approx(kept, abs=0.2)


def _parts(classifier: LogisticRegression) -> tuple[dict[int, float], ...]:
    return classifier.average, classifier.model.weights, classifier.scaler.means, classifier.scaler.vars


@kinds
def test_predictions_stay_finite_and_useful_after_hostile_features(kind: str) -> None:
    features, correct, weight = labels(800, seed=1)
    largest = float(np.finfo(np.float32).max)
    hostile: tuple[float, ...] = (np.nan, np.inf, -np.inf, largest, -largest, 1e-45, -0.0)
    for i, value in enumerate(hostile):
        features[i * 100 : i * 100 + 3] = value
    classifier = trained(kind, (features, correct, weight))
    for value in hostile:
        p = classifier.predict_proba(np.full((2, 17), value, dtype=np.float32))
        assert ((p >= 0) & (p <= 1)).all()
    features, correct, _ = labels(600, seed=2)
    assert np.mean((classifier.predict_proba(features) - correct) ** 2) < USEFUL * np.var(correct)


@kinds
def test_predictions_are_useful_when_some_features_are_always_missing(kind: str) -> None:
    features, correct, weight = labels(800, seed=1)
    features[:, 5:11] = np.nan
    classifier = trained(kind, (features, correct, weight))
    features, correct, _ = labels(400, seed=2)
    assert np.mean((classifier.predict_proba(features) - correct) ** 2) < USEFUL * np.var(correct)


@kinds
def test_soft_labels_are_learned_as_probabilities(kind: str) -> None:
    classifier = trained(kind, labels(800, seed=1, soft=True))
    features, p, _ = labels(400, seed=2, soft=True, holes=0.0)
    assert np.mean((classifier.predict_proba(features) - p) ** 2) < USEFUL * np.var(p)


@kinds
def test_a_label_of_weight_three_counts_as_three_labels(kind: str) -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((900, 2), dtype=np.float32)
    correct = (rng.random(900) < 0.5).astype(float)
    p = trained(kind, (features, correct, np.where(correct == 1, 3.0, 1.0))).predict_proba(features[:1])[0]
    if kind == "published_forest":  # its calibration counts the weights, its balance removes them
        assert 0.5 < p < 0.9
    else:
        assert p == pytest.approx(0.75, abs=0.06)


@kinds
@pytest.mark.parametrize("soft", [False, True])
def test_balance_removes_the_imbalance_of_the_labels(kind: str, soft: bool) -> None:
    rng = np.random.default_rng(1)
    features = np.zeros((900, 2), dtype=np.float32)
    correct = (rng.random(900) < 0.85).astype(float)
    if soft:
        correct = 0.1 + 0.85 * correct
    balanced = new_classifier(kind, ClassifierSettings(imbalance="balance"))
    p = trained(kind, (features, correct, np.ones(900)), start=balanced).predict_proba(features[:1])[0]
    assert p == pytest.approx(0.5, abs=0.12)


@kinds
def test_labels_older_than_memory_labels_fade(kind: str) -> None:
    features, correct, weight = labels(900, seed=1)
    turned = np.concatenate([1 - correct[:600], correct[600:]])  # the labels are inverted before label 600
    forgetful = new_classifier(kind, ClassifierSettings(memory_labels=100))
    stubborn = new_classifier(kind, ClassifierSettings(memory_labels=None))
    test_features, test_correct, _ = labels(400, seed=2)
    brier = [
        np.mean((trained(kind, (features, turned, weight), start=c).predict_proba(test_features) - test_correct) ** 2)
        for c in (forgetful, stubborn)
    ]
    assert brier[0] < 0.25
    assert brier[0] < brier[1] or kind == "adaptive_random_forest"  # its drift detectors make it forget anyway


def test_snapshots_of_online_classifiers_have_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.online.AdaptiveRandomForest.KEEP", 100)
    sizes: dict[str, list[int]] = {}
    for kind in ("logistic_regression", "adaptive_random_forest"):
        classifier = new_classifier(kind, SETTINGS)
        for seed in range(6):
            classifier.learn(*labels(100, seed=seed))
            sizes.setdefault(kind, []).append(len(classifier.snapshot()))
    assert max(sizes["logistic_regression"]) - min(sizes["logistic_regression"]) < 200
    assert max(sizes["adaptive_random_forest"]) <= 200 * (17 * 4 + 40) + 500


def test_an_adaptive_forest_that_dropped_old_labels_is_restored_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.online.AdaptiveRandomForest.KEEP", 50)
    features = labels(100, seed=7)[0]
    classifier = trained("adaptive_random_forest", labels(270))
    restored = restore_classifier(classifier.snapshot())
    assert restored.predict_proba(features).tobytes() == classifier.predict_proba(features).tobytes()


def test_an_adaptive_forest_counts_features_that_the_first_label_lacks() -> None:
    features, correct, weight = labels(50, holes=0.0)
    features[0, 2:] = np.nan
    classifier = AdaptiveRandomForest(SETTINGS)
    classifier.learn(features, correct, weight)
    assert classifier.forest.max_features == 4  # of 17, not of the two that the first label has
    assert classifier.forest.data[0].max_features == 4


def test_logistic_regression_predicts_like_river_with_the_averaged_weights() -> None:
    classifier = LogisticRegression(SETTINGS)
    classifier.learn(*labels(300))
    river: Any = RiverLogisticRegression()
    _set_weights(river, classifier.average)
    river.intercept = classifier.average_intercept
    features = labels(100, seed=3)[0]
    one_by_one = []
    for row in compressed(features).tolist():
        scaled = classifier.scaler.transform_one({j: x for j, x in enumerate(row) if x == x})
        clipped = {j: min(max(z, -5.0), 5.0) for j, z in scaled.items()}
        one_by_one.append(river.predict_proba_one(clipped)[True])
    np.testing.assert_allclose(classifier.predict_proba(features), one_by_one, rtol=1e-9)


@kinds
def test_test_then_train_predicts_each_response_before_its_label_is_learned(kind: str) -> None:
    features, correct, weight = labels(60, seed=9)
    predicting, learning = trained(kind, labels(120)), trained(kind, labels(120))
    before = []
    for i in range(60):
        before.append(predicting.predict_proba(features[i : i + 1])[0])
        predicting.learn(features[i : i + 1], correct[i : i + 1], weight[i : i + 1])
    np.testing.assert_allclose(learning.test_then_train(features, correct, weight), before, rtol=1e-9)
    assert learning.snapshot() == predicting.snapshot()


def test_a_label_moves_the_averaged_weights_less_than_the_newest_weights() -> None:
    classifier = LogisticRegression(SETTINGS)
    classifier.learn(*labels(500))
    moves: dict[str, list[float]] = {"average": [], "newest": []}
    features, correct, weight = labels(100, seed=2)
    for i in range(100):
        before = classifier.average_intercept, classifier.model.intercept
        classifier.learn(features[i : i + 1], correct[i : i + 1], weight[i : i + 1])
        moves["average"].append(abs(classifier.average_intercept - before[0]))
        moves["newest"].append(abs(classifier.model.intercept - before[1]))
    assert np.mean(moves["average"]) < 0.2 * np.mean(moves["newest"])


@pytest.mark.parametrize("kind", REFITTED)
def test_a_restored_fit_with_other_predictions_is_marked_as_not_reproduced(kind: str) -> None:
    classifier = trained(kind, labels(200))
    parts = SNAPSHOT.unpack(classifier.snapshot())
    same = restore_classifier(SNAPSHOT.pack(parts))
    assert isinstance(same, Refitted)
    assert same.is_reproduced
    parts[2]["digest"] = "0" * 16
    parts[2]["libraries"] = {"scikit-learn": "0.1"}
    other = restore_classifier(SNAPSHOT.pack(parts))
    assert isinstance(other, Refitted)
    assert not other.is_reproduced
    assert other.fitted_with == {"scikit-learn": "0.1"}
