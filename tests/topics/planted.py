"""Embeddings with planted topics, which appear one after the other, beside odd prompts of no topic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftgauge.models.arrays import Float32s, Int64s, Strings
from driftgauge.models.topics.clustering import TopicChange, Topics, TopicSettings
from driftgauge.models.topics.projection import reduced

ODD = -1
WIDTH = 384
N_DRAWN = 800


@dataclass(frozen=True)
class Planted:
    """(n, 64) unit vectors in the order they come, and the topic of each, `ODD` for none."""

    vectors: Float32s
    topics: Int64s


@dataclass(frozen=True)
class Found:
    """The name that each vector got, what changed at which place, and the state at the end."""

    names: Strings
    changes: list[tuple[int, TopicChange]]
    topics: Topics


def planted(seed: int, *, n: int = 6_000, n_topics: int = 12, at_first: int = 4, odd: float = 0.1) -> Planted:
    """Topics of uneven size: ``at_first`` from the beginning, the others at equal distances over two thirds.

    As with real encoders, all vectors have a direction in common, and the members of a topic differ most within some
    ten dimensions of its own. The cosine of a member and the centre of its topic is .75 on average.
    """
    rng = np.random.default_rng(seed)
    common = unit(rng.normal(size=WIDTH))
    centres = unit(0.5 * common + unit(rng.normal(size=(n_topics, WIDTH))))
    inner = rng.normal(size=(n_topics, 10, WIDTH)) / np.sqrt(WIDTH)
    starts = np.maximum(0, np.arange(n_topics) - at_first + 1) * (n * 2 // 3) // (n_topics - at_first + 1)
    sizes = rng.uniform(0.5, 2.0, n_topics)
    topics = np.empty(n, dtype=np.int64)
    for i in range(n):
        shares = sizes * (starts <= i)
        topics[i] = ODD if rng.random() < odd else rng.choice(n_topics, p=shares / shares.sum())
    along = np.einsum("nk,nkd->nd", rng.normal(size=(n, 10)), inner[topics]) / np.sqrt(10)
    noise = unit(along + rng.normal(size=(n, WIDTH)) / np.sqrt(WIDTH)) * rng.uniform(0.6, 1.2, (n, 1))
    vectors = np.where(topics[:, None] == ODD, unit(rng.normal(size=(n, WIDTH))), centres[topics] + noise)
    return Planted(directions(vectors), topics)


def drawn(seed: int, n: int = N_DRAWN) -> np.ndarray:
    """Two topics that meet, one that comes apart, one that falls silent, one that comes late, and odd prompts."""
    rng = np.random.default_rng(seed)
    one, two, whole, early, late, *sides = unit(rng.normal(size=(7, 64)))
    rows = []
    for i in range(n):
        moved, noise = min(2 * i / n, 1.0), unit(rng.normal(size=64))
        centres = [
            unit((1 - moved / 2) * one + moved / 2 * two), unit((1 - moved / 2) * two + moved / 2 * one),
            unit(whole + moved * sides[i % 2]), early if i < n / 4 else noise, late if i > n / 2 else noise, noise,
        ]  # fmt: skip
        rows.append(centres[rng.integers(6)] + rng.uniform(0.3, 0.9) * noise)
    return directions(np.array(rows))


def directions(vectors: np.ndarray) -> Float32s:
    """(n, 64) float32: what the agent keeps of embeddings."""
    return np.stack([direction for row in vectors if (direction := reduced(row.astype(np.float32))) is not None])


def sort(vectors: Float32s, settings: TopicSettings) -> Found:
    """Place vectors one after the other, a second apart."""
    topics, names, changes = Topics(settings), list[str](), list[tuple[int, TopicChange]]()
    for i, vector in enumerate(vectors):
        name, changed = topics.place(vector, float(i))
        names.append(name)
        changes += [(i, change) for change in changed]
    return Found(np.array(names), changes, topics)


def purity(found: Strings, true: np.ndarray) -> float:
    """Share of the responses that are of the commonest true topic of the topic they were put into."""
    most = [np.unique(true[found == name], return_counts=True)[1].max() for name in np.unique(found)]
    return float(sum(most) / len(true))


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
