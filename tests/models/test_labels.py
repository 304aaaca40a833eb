"""The truth about a response, from any set of label events and by every policy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.models.events import AnnotatorKind, Label
from driftgauge.models.labels import AnnotatorPairs, LabelUse, Truth, is_newer, resolve


def label(
    name: str, at: float, correct: float | None, *, by: str = "", kind: AnnotatorKind = "human",
    supersedes: str | None = None, probability: float | None = None, source: str = "",
) -> Label:  # fmt: skip
    return Label(name, "r", at, correct, kind, by or name, probability, supersedes, source)


def test_the_latest_label_counts() -> None:
    assert resolve([label("b", 2, 0.0), label("a", 1, 1.0)]) == Truth(0.0, 1.0, "unknown")


def test_a_superseded_label_does_not_count_even_when_it_is_later() -> None:
    assert resolve([label("new", 1, 1.0, supersedes="old"), label("old", 2, 0.0)]) == Truth(1.0, 1.0, "unknown")


def test_a_withdrawn_label_leaves_no_truth() -> None:
    assert resolve([label("old", 1, 1.0), label("gone", 2, None, supersedes="old")]) is None


def test_only_the_latest_label_of_an_annotator_counts() -> None:
    votes = [label("a", 1, 1.0, by="ann"), label("b", 2, 1.0, by="ann"), label("c", 3, 0.0, by="bob")]
    assert resolve([*votes, label("d", 4, 0.0, by="cy")], "majority") == Truth(0.0, 1.0, "unknown")


def test_the_newest_label_breaks_a_tie_of_the_majority() -> None:
    assert resolve([label("a", 1, 1.0), label("b", 2, 0.0)], "majority") == Truth(0.0, 1.0, "unknown")


def test_the_policy_mean_averages_soft_labels() -> None:
    truth = resolve([label("a", 1, 1.0), label("b", 2, 0.5)], "mean")
    assert truth == Truth(0.75, 1.0, "unknown")


def test_the_policy_rank_trusts_code_before_people_before_models() -> None:
    votes = [label("m", 9, 0.0, kind="model"), label("h", 5, 0.0, kind="human"), label("c", 1, 1.0, kind="code")]
    assert resolve(votes, "rank") == Truth(1.0, 1.0, "unknown")
    assert resolve(votes[:2], "rank") == Truth(0.0, 1.0, "unknown")


def test_the_weight_of_a_label_is_the_inverse_of_its_inclusion_probability() -> None:
    assert resolve([label("a", 1, 1.0, probability=0.1)]) == Truth(1.0, 10.0, "designed")


def test_a_later_thumbs_down_of_the_same_annotator_does_not_change_a_drawn_label() -> None:
    drawn = label("a", 1, 1.0, by="ann", probability=0.1)
    assert resolve([drawn, label("b", 2, 0.0, by="ann", source="thumbs")]) == Truth(1.0, 10.0, "designed")


def test_labels_of_a_source_that_is_no_fair_sample_teach_and_do_not_count() -> None:
    complaint = label("a", 1, 0.0, probability=0.1, source="complaint")
    assert resolve([complaint]) == Truth(0.0, 10.0, "designed", counts=False)
    assert resolve([complaint], use=LabelUse({"complaint": "ignore"})) is None
    assert resolve([complaint], use=LabelUse({"complaint": "count"})) == Truth(0.0, 10.0, "designed")


def test_labels_without_probability_teach_where_the_settings_say_so() -> None:
    unknown, drawn = label("b", 2, 0.0), label("a", 1, 1.0, probability=0.5)
    use = LabelUse(unknown="teach")
    assert resolve([unknown], use=use) == Truth(0.0, 1.0, "unknown", counts=False)
    assert resolve([unknown, drawn], use=use) == Truth(1.0, 2.0, "designed")


events = st.builds(
    label,
    st.sampled_from("abcde"),
    st.integers(0, 3).map(float),
    st.sampled_from([0.0, 0.4, 0.6, 1.0, None]),
    by=st.sampled_from(["ann", "bob"]),
    supersedes=st.sampled_from([None, "a", "b"]),
    source=st.sampled_from(["", "thumbs", "test"]),
)


@pytest.mark.parametrize("policy", ["latest", "majority", "mean", "rank"])
@given(st.lists(events, max_size=4))
def test_the_truth_does_not_depend_on_the_order_of_the_labels(policy: str, labels: list[Label]) -> None:
    truths = {resolve(order, policy) for order in itertools.permutations(labels)}  # type: ignore[arg-type]  # a str
    assert len(truths) == 1


@pytest.mark.parametrize("policy", ["latest", "majority", "mean", "rank"])
@given(st.lists(events, max_size=6))
def test_a_corrected_label_never_counts_again(policy: str, labels: list[Label]) -> None:
    kept: dict[str, Label] = {}
    for event in labels:
        if event.label_id not in kept or is_newer(event, kept[event.label_id]):
            kept[event.label_id] = event
    assert resolve(labels, policy) == resolve(kept.values(), policy)  # type: ignore[arg-type]  # a str


def test_a_later_event_with_the_same_label_id_is_a_correction() -> None:
    assert resolve([label("a", 1, 1.0), label("a", 2, 0.0)], "mean") == Truth(0.0, 1.0, "unknown")
    assert resolve([label("a", 1, 1.0), label("a", 2, None, supersedes="a")]) is None


def test_what_a_corrected_label_superseded_counts_again() -> None:
    votes = [label("a", 1, 1.0), label("b", 2, 0.0, supersedes="a"), label("b", 3, 0.0)]
    assert resolve(votes, "mean") == Truth(0.5, 1.0, "unknown")


@settings(deadline=None)
@given(seed=st.integers(0, 1_000))
def test_pairs_of_annotators_depend_on_the_labels_alone_not_on_how_they_came(seed: int) -> None:
    rng, pairs, labels = np.random.default_rng(seed), AnnotatorPairs(), list[Label]()
    for i in range(12):
        before = tuple(labels)
        if labels and rng.random() < 0.2:
            labels.pop(int(rng.integers(len(labels))))
        else:
            by, correct = str(rng.choice(["ann", "bob", "cid"])), float(rng.integers(2))
            labels.append(Label(f"l{i}", "r", float(rng.integers(5)), correct, annotator_id=by))
        pairs.replace(before, labels)
    whole = AnnotatorPairs()
    whole.replace((), labels)
    assert pairs == whole


def test_the_error_rate_of_annotators_is_found_from_their_disagreement() -> None:
    rng, pairs, error = np.random.default_rng(0), AnnotatorPairs(), 0.15
    for i in range(4_000):
        truth = rng.random() < 0.7
        wrong = rng.random(2) < error
        labels = [Label(f"{i}/{k}", "r", 1.0, float(truth ^ bool(wrong[k])), annotator_id=f"a{k}") for k in range(2)]
        pairs.replace((), labels)
    assert pairs.error_rate == pytest.approx(error, abs=4 * np.sqrt(0.255 * 0.745 / 4_000) / (2 - 4 * error))


def test_a_thumb_beside_a_label_is_no_second_annotator() -> None:
    pairs = AnnotatorPairs()
    pairs.replace((), [Label("a", "r", 1.0, 1.0), Label("b", "r", 1.0, 0.0, annotator_id="user", source="thumbs")])
    assert pairs == AnnotatorPairs()
