"""Topics found online: planted ones are found and kept, odd prompts found none, and everything is bounded."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from driftgauge.models.topics.clustering import MAX_WAITING, UNSORTED, ChangeKind, Topics, TopicSettings
from tests.topics.planted import N_DRAWN as N
from tests.topics.planted import ODD, directions, drawn, planted, purity, sort, unit

FEW = TopicSettings(max_topics=3, min_responses=4, silent_s=50.0)


def around(rng: np.random.Generator, centre: np.ndarray, n: int) -> np.ndarray:
    """(n, d) vectors whose cosine with the centre is .8 or so."""
    return unit(centre + unit(rng.normal(size=(n, len(centre)))) * 0.75)


def saved_and_restored(topics: Topics) -> Topics:
    blob = msgspec.msgpack.encode(topics.snapshot())
    return Topics.restored(topics.settings, msgspec.msgpack.decode(blob))


@pytest.mark.parametrize("seed", range(3))
def test_planted_topics_are_found_soon_after_they_appear_and_no_others(seed: int) -> None:
    world = planted(seed)
    found = sort(world.vectors, TopicSettings())
    assert len(found.topics.names) == 12
    assert [change.kind for _, change in found.changes] == ["new_topic"] * 12
    known = (world.topics != ODD) & (found.names != UNSORTED)
    assert adjusted_rand_score(world.topics[known], found.names[known]) > 0.97
    assert purity(found.names[known], world.topics[known]) > 0.98
    assert (found.names[world.topics == ODD] != UNSORTED).mean() < 0.02
    for topic in range(12):
        first = np.flatnonzero((world.topics == topic) & known)[0]
        assert (world.topics[:first] == topic).sum() < 2 * TopicSettings().min_responses


def test_prompts_without_likeness_found_no_topic() -> None:
    rng = np.random.default_rng(0)
    assert set(sort(directions(rng.normal(size=(3_000, 384))), TopicSettings()).names) == {UNSORTED}


def test_two_topics_that_become_alike_are_merged_under_the_older_name() -> None:
    rng = np.random.default_rng(1)
    first, second = unit(rng.normal(size=(2, 384)))
    rows = []
    for i in range(4_000):
        share = min(i / 2_500, 1.0) / 2  # they meet half way
        own, other = (first, second) if i % 2 else (second, first)
        rows.append(around(rng, unit((1 - share) * own + share * other), 1)[0])
    found = sort(directions(np.array(rows)), TopicSettings())
    assert [(c.kind, c.topic, c.other) for _, c in found.changes][:2] == [
        ("new_topic", "topic-1", ""), ("new_topic", "topic-2", ""),
    ]  # fmt: skip
    (merged,) = [c for _, c in found.changes if c.kind == "topics_merged"]
    assert (merged.topic, merged.other) == ("topic-1", "topic-2")
    assert set(found.names[-500:]) == {"topic-1"}


def test_a_topic_whose_prompts_become_of_two_kinds_is_split() -> None:
    rng = np.random.default_rng(2)
    centre, *sides = unit(rng.normal(size=(3, 384)))
    rows = []
    for i in range(4_000):
        shift = min(max(i - 500, 0) / 2_500, 1.0)
        rows.append(around(rng, unit(centre + shift * 0.9 * sides[i % 2]), 1)[0])
    found = sort(directions(np.array(rows)), TopicSettings())
    kinds = [(c.kind, c.topic, c.other) for _, c in found.changes]
    assert kinds == [("new_topic", "topic-1", ""), ("topic_split", "topic-1", "topic-2")]
    late = found.names[-500:]
    assert adjusted_rand_score(np.arange(500) % 2, late) > 0.9


def test_a_topic_that_moves_slowly_keeps_its_name() -> None:
    rng = np.random.default_rng(3)
    start, end = unit(rng.normal(size=(2, 384)))
    rows = [around(rng, unit((1 - i / 8_000) * start + i / 8_000 * end), 1)[0] for i in range(8_000)]
    found = sort(directions(np.array(rows)), TopicSettings())
    assert set(found.names) == {UNSORTED, "topic-1"}


def test_a_topic_that_is_silent_leaves_only_for_a_new_one_and_its_name_does_not_come_back() -> None:
    rng = np.random.default_rng(4)
    centres = unit(rng.normal(size=(5, 384)))
    groups = [directions(around(rng, centre, 10)) for centre in centres]
    topics = Topics(FEW)
    for i, group in enumerate(groups[:3]):
        for vector in group:
            topics.place(vector, 10.0 * i)
    assert topics.names == ["topic-1", "topic-2", "topic-3"]
    placed = [topics.place(vector, 40.0) for vector in groups[3]]  # nobody was silent for long enough
    assert {name for name, _ in placed} == {UNSORTED}
    assert {change.kind for _, changes in placed for change in changes} == {"topics_full"}
    placed = [topics.place(vector, 55.0) for vector in groups[4]]
    assert {name for name, _ in placed} == {UNSORTED, "topic-4"}
    (changes,) = [changes for _, changes in placed if changes]
    assert [(change.kind, change.topic) for change in changes] == [("topics_left", "topic-1"), ("new_topic", "topic-4")]
    assert topics.names == ["topic-2", "topic-3", "topic-4"]
    assert {topics.place(vector, 200.0)[0] for vector in groups[0]} == {UNSORTED, "topic-5"}


def rules_of(max_topics: int, similarity: float = 0.5) -> TopicSettings:
    return TopicSettings(max_topics=max_topics, min_responses=4, silent_s=50.0, similarity=similarity)


RULES = st.builds(rules_of, st.integers(2, 8), st.floats(0.3, 0.6))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.sets(st.integers(1, N - 1), max_size=5), rules=RULES)
def test_a_restart_changes_nothing(seed: int, cuts: set[int], rules: TopicSettings) -> None:
    straight, resumed = Topics(rules), Topics(rules)
    for i, vector in enumerate(drawn(seed)):
        if i in cuts:
            resumed = saved_and_restored(resumed)
        assert straight.place(vector, float(i)) == resumed.place(vector, float(i))
    assert straight.snapshot() == resumed.snapshot()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), rules=RULES)
def test_topics_are_bounded_and_names_are_never_used_again(seed: int, rules: TopicSettings) -> None:
    topics, begun, ended = Topics(rules), set[str](), set[str]()
    for i, vector in enumerate(drawn(seed)):
        name, changes = topics.place(vector, float(i))
        for change in changes:
            new = {"new_topic": change.topic, "topic_split": change.other}.get(change.kind)
            assert new not in begun
            begun |= {new} if new else set()
            ended |= {change.other} if change.kind == "topics_merged" else set()
        assert name == UNSORTED or name in topics.names
        assert not ended.intersection(topics.names)
        assert len(topics.names) <= rules.max_topics
    vectors = MAX_WAITING + 3 * rules.max_topics
    assert len(msgspec.msgpack.encode(topics.snapshot())) < vectors * 64 * 4 + 100 * rules.max_topics + 100


def test_the_log_of_these_laws_draws_on_every_branch() -> None:
    seen = set[str]()
    for seed, max_topics in itertools.product(range(4), (2, 4)):
        found = sort(drawn(seed), rules_of(max_topics, 0.4))
        seen |= {change.kind for _, change in found.changes}
    assert seen == {*get_args(ChangeKind)}
