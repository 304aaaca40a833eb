"""Topics found online: a unit vector in, the name of its topic out.

A leader algorithm with moving centres (Hartigan 1975; spherical k-means of Dhillon and Modha 2001, online as by Zhong
2005). A vector near a centre belongs to it and moves it a little. One that is far from all centres waits; when enough
of those that wait are near one another, they found a topic. Centres that came close are merged, and a topic whose
members are two groups is split (`halves`). Decisions depend on the vectors in their order and on nothing else.

Bounded: ``max_topics`` centres, `MAX_WAITING` vectors that wait. A topic costs three vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from driftgauge.models.arrays import Float32s
from driftgauge.models.topics.halves import Halves
from driftgauge.models.topics.projection import N_DIMENSIONS

UNSORTED = "(unsorted)"
"""The domain of responses that have an embedding and belong to no topic yet."""

MAX_WAITING = 1_024
"""Vectors that wait. A topic is found where ``min_responses`` of them are its own, so the rarest has that share."""

HORIZON = 500
"""Members of a topic from which its centre moves by 1/500 of the way to a new one."""

CHECK_EVERY = 50
"""Members of a topic after which it is looked at: merge it, or split it?"""

ChangeKind: TypeAlias = Literal["new_topic", "topics_merged", "topic_split", "topics_left", "topics_full"]


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """When vectors are a topic.

    Attributes
    ----------
    enabled : whether responses without a domain get one from their embedding
    max_topics : topics at the same time
    similarity : smallest cosine of a member and the centre of its topic, in (0, 1)
    min_responses : vectors near one another that found a topic, 2 to `MAX_WAITING`
    silent_s : seconds of event time without a response after which a topic may leave for a new one
    """

    enabled: bool = False
    max_topics: int = 50
    similarity: float = 0.5
    min_responses: int = 20
    silent_s: float = 7 * 86_400.0

    @property
    def merge_similarity(self) -> float:
        """Cosine of two centres from which they are one topic: halfway from the bound for members to 1."""
        return (1 + self.similarity) / 2


@dataclass(frozen=True, slots=True)
class TopicChange:
    """A topic began, took another one over, was split, or left for a new one; or there was no room for a new one.

    ``other`` is the one that was taken over or split off; ``n`` is the number of prompts concerned.
    """

    kind: ChangeKind
    topic: str = ""
    other: str = ""
    n: int = 0


@dataclass(slots=True)
class _Topic:
    number: int
    n: int
    last: float  # newest event time
    halves: Halves

    @property
    def name(self) -> str:
        return f"topic-{self.number}"


class Topics:
    """The topics of a stream. Names are numbered once and never used again.

    Examples
    --------
    >>> topics, (law, tax) = Topics(TopicSettings(min_responses=3)), np.eye(2, 64, dtype=np.float32)
    >>> [topics.place(law, float(i))[0] for i in range(4)]
    ['(unsorted)', '(unsorted)', 'topic-1', 'topic-1']
    >>> [topics.place(tax, float(i)) for i in range(4, 7)][-1]
    ('topic-2', [TopicChange(kind='new_topic', topic='topic-2', other='', n=3)])
    >>> Topics.restored(topics.settings, topics.snapshot()).place(law, 7.0)
    ('topic-1', [])
    """

    def __init__(self, settings: TopicSettings) -> None:
        self.settings = settings
        self._n_named = 0
        self._topics: list[_Topic] = []  # in the order of their numbers
        self._centres = np.empty((0, N_DIMENSIONS), dtype=np.float32)
        self._waiting = np.empty((0, N_DIMENSIONS), dtype=np.float32)  # oldest first

    @property
    def names(self) -> list[str]:
        """The topics of now, oldest first."""
        return [topic.name for topic in self._topics]

    def place(self, vector: Float32s, at: float) -> tuple[str, list[TopicChange]]:
        """The topic of a vector, or `UNSORTED`, and what changed because of it.

        Parameters
        ----------
        vector : (64,) float32 of length 1, as `projection.reduced` gives it
        at : event time
        """
        similarities = self._centres @ vector
        if len(similarities) and similarities.max() >= self.settings.similarity:
            i = int(similarities.argmax())
            topic = self._topics[i]
            topic.last = max(topic.last, at)
            self._add(i, vector)
            changes = self._check(i) if topic.n % CHECK_EVERY == 0 else []
            return (changes[0].topic if changes else topic.name), changes
        self._waiting = np.vstack([self._waiting[1 - MAX_WAITING :], vector])
        return self._founded(at)

    def _add(self, i: int, vector: Float32s) -> None:
        topic = self._topics[i]
        topic.n += 1
        topic.halves.add(vector)
        centre = self._centres[i]
        self._centres[i] = _unit(centre + (vector - centre) / np.float32(min(topic.n, HORIZON)))

    def _founded(self, at: float) -> tuple[str, list[TopicChange]]:
        """Whether the newest vector completes a group among those that wait."""
        similarity, enough = self.settings.similarity, self.settings.min_responses
        near = self._waiting @ self._waiting[-1] >= similarity
        if near.sum() < enough:
            return UNSORTED, []
        centre = _unit(self._waiting[near].mean(axis=0))
        near = self._waiting @ centre >= similarity
        if near.sum() < enough or not near[-1]:
            return UNSORTED, []
        members, self._waiting = self._waiting[near], self._waiting[~near]
        closeness = self._centres @ centre
        if len(closeness) and closeness.max() >= self.settings.merge_similarity:
            return self._widened(int(closeness.argmax()), members, at), []
        left = self._make_room(at)
        if len(self._topics) >= self.settings.max_topics:
            return UNSORTED, [*left, TopicChange("topics_full", n=len(members))]
        name = self._new(_unit(members.mean(axis=0)), Halves.of(members), len(members), at)
        return name, [*left, TopicChange("new_topic", name, n=len(members))]

    def _widened(self, i: int, members: Float32s, at: float) -> str:
        """Those at the edge of a topic belong to it: a topic of their own would be merged at once."""
        self._topics[i].last = max(self._topics[i].last, at)
        for member in members:
            self._add(i, member)
        return self._topics[i].name

    def _make_room(self, at: float) -> list[TopicChange]:
        """Let the topics that are silent longest leave, where there is no room and they were silent long enough."""
        left = []
        while len(self._topics) >= self.settings.max_topics:
            i = min(range(len(self._topics)), key=lambda i: self._topics[i].last)
            topic = self._topics[i]
            if topic.last > at - self.settings.silent_s:
                break
            self._remove(i)
            left.append(TopicChange("topics_left", topic.name, n=topic.n))
        return left

    def _new(self, centre: Float32s, halves: Halves, n: int, at: float) -> str:
        self._n_named += 1
        self._topics.append(_Topic(self._n_named, n, at, halves))
        self._centres = np.vstack([self._centres, centre])
        return self._topics[-1].name

    def _remove(self, i: int) -> None:
        del self._topics[i]
        self._centres = np.delete(self._centres, i, axis=0)

    def _check(self, i: int) -> list[TopicChange]:
        """Merge a topic with its nearest one, or split it."""
        closeness = self._centres @ self._centres[i]
        closeness[i] = -1.0
        nearest = int(closeness.argmax())
        if closeness[nearest] >= self.settings.merge_similarity:
            return [self._merge(*sorted((i, nearest)))]
        halves = self._topics[i].halves
        is_room = len(self._topics) < self.settings.max_topics
        is_apart = halves.similarity < self.settings.merge_similarity  # else they would be merged at once
        if is_room and is_apart and halves.are_two(self.settings.min_responses):
            return [self._split(i)]
        return []

    def _merge(self, older: int, younger: int) -> TopicChange:
        """The older topic takes the younger one over."""
        kept, gone = self._topics[older], self._topics[younger]
        share = np.float32(gone.n / (kept.n + gone.n))
        self._centres[older] = _unit(self._centres[older] * (1 - share) + self._centres[younger] * share)
        kept.n, kept.last = kept.n + gone.n, max(kept.last, gone.last)
        self._remove(younger)
        return TopicChange("topics_merged", kept.name, gone.name, gone.n)

    def _split(self, i: int) -> TopicChange:
        """The half with more members keeps the name."""
        topic, (minor, major) = self._topics[i], self._topics[i].halves.by_weight
        n = round(topic.n * minor.weight / (minor.weight + major.weight))
        topic.n, topic.halves = topic.n - n, Halves.around(major.mean)
        self._centres[i] = _unit(major.mean)
        name = self._new(_unit(minor.mean), Halves.around(minor.mean), n, topic.last)
        return TopicChange("topic_split", topic.name, name, n)

    def snapshot(self) -> list[Any]:
        """State as plain values; `restored` takes it."""
        topics = [[t.number, t.n, t.last, t.halves.snapshot()] for t in self._topics]
        arrays = [self._centres.astype("<f4").tobytes(), self._waiting.astype("<f4").tobytes()]
        return [self._n_named, topics, *arrays]

    @classmethod
    def restored(cls, settings: TopicSettings, state: Sequence[Any]) -> Topics:
        """The topics that gave this state, under settings of today."""
        topics = cls(settings)
        topics._n_named, saved, centres, waiting = state
        topics._topics = [_Topic(number, n, last, Halves.restored(halves)) for number, n, last, halves in saved]
        topics._centres = _matrix(centres)
        topics._waiting = _matrix(waiting)
        return topics


def _unit(vector: Float32s) -> Float32s:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _matrix(packed: bytes) -> Float32s:
    return np.frombuffer(packed, dtype="<f4").reshape(-1, N_DIMENSIONS).astype(np.float32)
