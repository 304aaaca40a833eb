"""The tables of docs/topics.md: how well topics are found, planted ones and the domains of recorded prompts.

python -m tests.topics.measure [RECORDING.npz ...]: recordings have arrays ``prompt`` and ``domain``; the extra topics
encodes the prompts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from river import cluster
from sklearn.metrics import adjusted_rand_score

from driftgauge.connectors.sentence_encoder import encode
from driftgauge.models.topics.clustering import UNSORTED, TopicSettings
from driftgauge.models.topics.projection import reduced
from tests.topics.planted import ODD, Found, Planted, directions, planted, purity, sort

SEEDS = 10
SIMILARITIES = (0.4, 0.5, 0.6)
COLUMNS = ("true", "found", "extra", "rand", "purity", "unsorted", "odd_sorted", "delay", "merged", "split", "us")
RIVER: Mapping[str, Callable[[], Any]] = {
    "DBSTREAM": partial(cluster.DBSTREAM, clustering_threshold=1.0, fading_factor=0.001, minimum_weight=5),
    "DenStream": partial(cluster.DenStream, decaying_factor=0.001, beta=0.5, mu=10, epsilon=0.9, n_samples_init=300),
}
"""A threshold of 1 is the distance of two unit vectors whose cosine is .5."""


def row(found: Found, world: Planted, seconds: float) -> list[float]:
    """The second half counts for agreement, when the topics of the beginning have been found."""
    true, late = world.topics, np.arange(len(world.topics)) >= len(world.topics) // 2
    is_known, is_sorted = true != ODD, found.names != UNSORTED
    used, odd = late & is_known & is_sorted, is_sorted[~is_known]
    kinds, n_true = [change.kind for _, change in found.changes], len(np.unique(true[is_known]))
    return [
        n_true,
        len(found.topics.names),
        len(found.topics.names) - len(set(commonest(found.names[used], true[used]))),
        float(adjusted_rand_score(true[used], found.names[used])),
        purity(found.names[used], true[used]),
        float((~is_sorted)[late & is_known].mean()),
        float(odd.mean()) if len(odd) else 0.0,
        delay(found, true),
        kinds.count("topics_merged"),
        kinds.count("topic_split"),
        seconds / len(true) * 1e6,
    ]


def commonest(names: np.ndarray, true: np.ndarray) -> list[int]:
    """The commonest true topic of each topic."""
    return [int(np.bincount(true[names == name]).argmax()) for name in np.unique(names)]


def delay(found: Found, true: np.ndarray) -> float:
    """Median over the true topics: responses of it until one is put into a topic that is mostly of it."""
    waits = []
    for topic in set(true.tolist()) - {ODD}:
        for n, name in enumerate(found.names[true == topic]):
            if name != UNSORTED and np.mean(true[found.names == name] == topic) > 0.5:
                waits.append(n)
                break
    return float(np.median(waits)) if waits else float("inf")


def recorded(path: str) -> list[Planted]:
    """The prompts of a recording in `SEEDS` orders."""
    recording = np.load(path)
    vectors = directions(np.stack([encode(text) for text in recording["prompt"]]))
    true = np.unique(recording["domain"], return_inverse=True)[1]
    orders = [np.random.default_rng(seed).permutation(len(true)) for seed in range(SEEDS)]
    return [Planted(vectors[order], true[order]) for order in orders]


def measured(world: Planted, settings: TopicSettings) -> list[float]:
    start = time.process_time()
    found = sort(world.vectors, settings)
    return row(found, world, time.process_time() - start)


def compared(world_name: str, worlds: list[Planted]) -> None:
    """River's clusterers beside ours: agreement in the second half, where those without a topic are one group."""
    for name in ("ours", *RIVER):
        scores, start = [], time.process_time()
        for world in worlds:
            used = (np.arange(len(world.topics)) >= len(world.topics) // 2) & (world.topics != ODD)
            if name == "ours":
                names = sort(world.vectors, TopicSettings()).names
            else:
                names = np.array([str(label) for label in _labels(RIVER[name](), world.vectors)])
            scores.append(adjusted_rand_score(world.topics[used], names[used]))
        cost = (time.process_time() - start) / sum(len(world.topics) for world in worlds) * 1e6
        print(f"{world_name} {name} rand {np.mean(scores):.3f} us {cost:.0f}")


def _labels(model: Any, vectors: np.ndarray) -> list[int]:
    labels = []
    for vector in vectors:
        x = dict(enumerate(vector.tolist()))
        model.learn_one(x)
        labels.append(model.predict_one(x))
    return labels


def costs() -> None:
    """Microseconds of a projection by the width of the embedding, and of an encoding by the words of the prompt."""
    rng = np.random.default_rng(0)
    for width in (384, 1_024, 4_096):
        embedding = rng.normal(size=width).astype(np.float32)
        print(f"projection of {width} us {_cost(partial(reduced, embedding)):.0f}")
    for n_words in (10, 100, 1_000):
        print(
            f"encoding of {n_words} words us {_cost(partial(encode, 'how many apples are left ' * (n_words // 5))):.0f}"
        )


def _cost(call: Callable[[], object], n: int = 500) -> float:
    call()
    start = time.process_time()
    for _ in range(n):
        call()
    return (time.process_time() - start) / n * 1e6


def main(paths: list[str]) -> None:
    worlds = {
        "appearing": [planted(seed) for seed in range(SEEDS)],
        "many": [planted(seed, n=12_000, n_topics=40, at_first=40) for seed in range(3)],
        **{Path(path).stem: recorded(path) for path in paths},
    }
    print("world", "similarity", *COLUMNS)
    for name, drawn in worlds.items():
        for similarity in SIMILARITIES:
            settings = TopicSettings(similarity=similarity)
            print(name, similarity, *np.mean([measured(world, settings) for world in drawn], axis=0).round(3))
    compared("appearing", [planted(seed, n=2_000) for seed in range(3)])
    for path in paths:
        compared(Path(path).stem, worlds[Path(path).stem][:3])
    costs()


if __name__ == "__main__":
    main(sys.argv[1:])
