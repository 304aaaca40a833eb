"""What the online regression promises: to the bit where batches end, on hostile input, after a restart."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.linear_model import LogisticRegression as RiverLogisticRegression

from driftgauge.models.classify.labelled_rows import compressed
from driftgauge.models.classify.online import SNAPSHOT, OnlineRegression, _set_weights
from driftgauge.models.saved_format import NewerStateError
from driftgauge.models.signals.feature_sets import LAYOUTS, in_width
from tests.classifiers.labelled import USEFUL, Labels, labels


def trained(all_labels: Labels, cuts: tuple[int, ...] = (), start: OnlineRegression | None = None) -> OnlineRegression:
    """A regression that learned the labels in batches that end at the cuts."""
    features, correct, weight = all_labels
    classifier = start or OnlineRegression()
    bounds = [0, *sorted(cuts), len(all_labels[1])]
    for first, last in itertools.pairwise(bounds):
        classifier.test_then_train(features[first:last], correct[first:last], weight[first:last])
    return classifier


def test_without_right_and_wrong_labels_there_is_a_reason_and_no_prediction() -> None:
    features, correct, weight = labels(50)
    classifier = trained((features, np.ones(50), weight))
    assert "of each kind" in (classifier.not_ready() or "")
    assert np.isnan(classifier.predict_proba(features)).all()
    classifier = trained((features, correct, weight), start=classifier)
    assert classifier.not_ready() is None
    assert np.isfinite(classifier.predict_proba(features)).all()


def test_new_responses_are_predicted_better_than_by_a_constant() -> None:
    classifier = trained(labels(800, seed=1))
    features, correct, _ = labels(600, seed=2)
    p = classifier.predict_proba(features)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.mean((p - correct) ** 2) < USEFUL * np.var(correct)


def test_the_prediction_of_a_row_does_not_depend_on_other_rows_to_the_bit() -> None:
    classifier = trained(labels(300))
    features = labels(200, seed=5)[0]
    together = classifier.predict_proba(features)
    alone = np.concatenate([classifier.predict_proba(features[i : i + 1]) for i in range(0, 200, 9)])
    assert alone.tobytes() == together[::9].tobytes()
    assert classifier.predict_proba(features[:0]).shape == (0,)


@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 160), max_size=6))
def test_batch_boundaries_do_not_change_a_classifier_to_the_bit(cuts: list[int]) -> None:
    all_labels = labels(160, seed=4)
    whole, pieces = trained(all_labels), trained(all_labels, tuple(cuts))
    assert whole.snapshot() == pieces.snapshot()
    features = labels(50, seed=6)[0]
    assert whole.predict_proba(features).tobytes() == pieces.predict_proba(features).tobytes()


def test_a_restored_classifier_continues_like_one_never_saved_to_the_bit() -> None:
    features = labels(100, seed=7)[0]
    uninterrupted = trained(labels(200))
    restored = OnlineRegression.restore(uninterrupted.snapshot())
    assert restored.n_labels == uninterrupted.n_labels
    assert restored.snapshot() == uninterrupted.snapshot()
    for _ in range(2):
        assert restored.predict_proba(features).tobytes() == uninterrupted.predict_proba(features).tobytes()
        trained(labels(150, seed=8), start=uninterrupted)
        trained(labels(150, seed=8), start=restored)


def test_a_snapshot_holds_plain_values_and_a_damaged_snapshot_raises_a_clear_error() -> None:
    blob = trained(labels(100)).snapshot()
    assert SNAPSHOT.unpack(blob)[0] == "logistic_regression"
    for damaged in (b"", b"\x80\x04K\x01.", blob[: len(blob) // 2], SNAPSHOT.pack(["logistic_regression", {}, {}])):
        with pytest.raises(ValueError, match=r"snapshot|saved classifier"):
            OnlineRegression.restore(damaged)
    with pytest.raises(NewerStateError, match=r"classifier has format 99: use driftgauge 9\.0\.0 or newer"):
        OnlineRegression.restore(msgspec.msgpack.encode([99, "9.0.0", ["logistic_regression", {}, {}]]))
    with pytest.raises(ValueError, match="a snapshot of a nonsense classifier"):
        OnlineRegression.restore(SNAPSHOT.pack(["nonsense", {}, {}]))


def test_a_bad_label_raises_and_nothing_of_its_batch_is_learned() -> None:
    classifier = trained(labels(100))
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
            classifier.test_then_train(*bad)
    with pytest.raises(ValueError, match="features"):
        classifier.predict_proba(features[:, :5])
    assert classifier.snapshot() == before


def test_labels_of_another_set_of_features_are_learned_as_rows_without_its_columns() -> None:
    narrow, wide, (new, _, _) = labels(150), labels(150, seed=1, d=22), labels(50, seed=2, d=22)
    features = np.concatenate([in_width(narrow[0], 22), wide[0]])
    correct, weight = np.concatenate([narrow[1], wide[1]]), np.concatenate([narrow[2], wide[2]])
    classifier = OnlineRegression.restore(trained(narrow).snapshot())
    assert (classifier.predict_proba(new) == classifier.predict_proba(new[:, :17])).all()
    classifier.test_then_train(*wide)
    expected = trained((features, correct, weight))
    assert (classifier.predict_proba(new) == expected.predict_proba(new)).all()
    assert np.isfinite(classifier.predict_proba(new[:, :17])).all()


def test_columns_that_the_new_set_does_not_have_leave_the_logistic_regression() -> None:
    classifier = OnlineRegression()
    classifier.test_then_train(*labels(100, d=51))
    kept = {j: classifier.average[j] for j in range(17)}
    classifier.test_then_train(in_width(labels(1)[0], 66), np.ones(1), np.ones(1))
    assert all({LAYOUTS[66][j] for j in part} == {*LAYOUTS[51]} for part in _parts(classifier))
    classifier.test_then_train(in_width(labels(1)[0], 22), np.ones(1), np.ones(1))
    assert all({*part} == {*range(17)} for part in _parts(classifier))
    assert classifier.average == pytest.approx(kept, abs=0.2)


def _parts(classifier: OnlineRegression) -> tuple[dict[int, float], ...]:
    return classifier.average, classifier.model.weights, classifier.scaler.means, classifier.scaler.vars


def test_predictions_stay_finite_and_useful_after_hostile_features() -> None:
    features, correct, weight = labels(800, seed=1)
    largest = float(np.finfo(np.float32).max)
    hostile: tuple[float, ...] = (np.nan, np.inf, -np.inf, largest, -largest, 1e-45, -0.0)
    for i, value in enumerate(hostile):
        features[i * 100 : i * 100 + 3] = value
    classifier = trained((features, correct, weight))
    for value in hostile:
        p = classifier.predict_proba(np.full((2, 17), value, dtype=np.float32))
        assert ((p >= 0) & (p <= 1)).all()
    features, correct, _ = labels(600, seed=2)
    assert np.mean((classifier.predict_proba(features) - correct) ** 2) < USEFUL * np.var(correct)


def test_predictions_are_useful_when_some_features_are_always_missing() -> None:
    features, correct, weight = labels(800, seed=1)
    features[:, 5:11] = np.nan
    classifier = trained((features, correct, weight))
    features, correct, _ = labels(400, seed=2)
    assert np.mean((classifier.predict_proba(features) - correct) ** 2) < USEFUL * np.var(correct)


def test_soft_labels_are_learned_as_probabilities() -> None:
    classifier = trained(labels(800, seed=1, soft=True))
    features, p, _ = labels(400, seed=2, soft=True, holes=0.0)
    assert np.mean((classifier.predict_proba(features) - p) ** 2) < USEFUL * np.var(p)


def test_a_label_of_weight_three_counts_as_three_labels() -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((900, 2), dtype=np.float32)
    correct = (rng.random(900) < 0.5).astype(float)
    p = trained((features, correct, np.where(correct == 1, 3.0, 1.0))).predict_proba(features[:1])[0]
    assert p == pytest.approx(0.75, abs=0.06)


def test_labels_older_than_memory_labels_fade() -> None:
    features, correct, weight = labels(900, seed=1)
    turned = np.concatenate([1 - correct[:600], correct[600:]])  # the labels are inverted before label 600
    forgetful, stubborn = OnlineRegression(memory_labels=100), OnlineRegression(memory_labels=None)
    test_features, test_correct, _ = labels(400, seed=2)
    brier = [
        np.mean((trained((features, turned, weight), start=c).predict_proba(test_features) - test_correct) ** 2)
        for c in (forgetful, stubborn)
    ]
    assert brier[0] < 0.25
    assert brier[0] < brier[1]


def test_its_snapshot_has_a_bounded_size() -> None:
    classifier, sizes = OnlineRegression(), []
    for seed in range(6):
        classifier.test_then_train(*labels(100, seed=seed))
        sizes.append(len(classifier.snapshot()))
    assert max(sizes) - min(sizes) < 200


def test_it_predicts_like_river_with_the_averaged_weights() -> None:
    classifier = OnlineRegression()
    classifier.test_then_train(*labels(300))
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


def test_test_then_train_predicts_each_response_before_its_label_is_learned() -> None:
    features, correct, weight = labels(60, seed=9)
    predicting, learning = trained(labels(120)), trained(labels(120))
    before = []
    for i in range(60):
        before.append(predicting.predict_proba(features[i : i + 1])[0])
        predicting.test_then_train(features[i : i + 1], correct[i : i + 1], weight[i : i + 1])
    np.testing.assert_allclose(learning.test_then_train(features, correct, weight), before, rtol=1e-9)
    assert learning.snapshot() == predicting.snapshot()


def test_a_label_moves_the_averaged_weights_less_than_the_newest_weights() -> None:
    classifier = OnlineRegression()
    classifier.test_then_train(*labels(500))
    moves: dict[str, list[float]] = {"average": [], "newest": []}
    features, correct, weight = labels(100, seed=2)
    for i in range(100):
        before = classifier.average_intercept, classifier.model.intercept
        classifier.test_then_train(features[i : i + 1], correct[i : i + 1], weight[i : i + 1])
        moves["average"].append(abs(classifier.average_intercept - before[0]))
        moves["newest"].append(abs(classifier.model.intercept - before[1]))
    assert np.mean(moves["average"]) < 0.2 * np.mean(moves["newest"])
