"""Whether a topic has become two: its members in two halves, followed online.

Owns two running means and, along the line between them, the variance within each. Bounded: forgets with a horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from driftgauge.models.arrays import Float32s

HORIZON = 200.0
"""Members of a half after which older ones count little."""

MIN_SHARE = 0.2
"""Share of the recent members that the smaller half must have for a split."""

MIN_GAP = 4.0
"""Distance of the halves, in standard deviations within them, from which they are two groups.

Halves of one Gaussian lie 2.65 apart, those of a uniform distribution 3.46 (compare Ashman, Bird and Zepf 1994).
"""


class Half(NamedTuple):
    """The mean of a half, (d,) float32, and the number of its recent members."""

    mean: Float32s
    weight: float


class Halves:
    """Online 2-means over the members of one topic.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def followed(side):
    ...     members = (rng.normal(0, 0.1, (250, 8)) + side * rng.choice([-1, 1], (250, 1))).astype(np.float32)
    ...     halves = Halves.of(members[:50])
    ...     for member in members[50:]:
    ...         halves.add(member)
    ...     return halves.are_two(min_members=20)
    >>> followed(0), followed(1)
    (False, True)
    """

    def __init__(self, means: Float32s, weights: Sequence[float], variances: Sequence[float]) -> None:
        self._means = means
        self._weights = [*weights]
        self._variances = [*variances]

    @classmethod
    def of(cls, members: Float32s) -> Halves:
        """The halves of these members, (n, d) float32 with n >= 2, along their main direction."""
        centred = members - members.mean(axis=0)
        upper = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] > 0
        if upper.all() or not upper.any():  # equal members
            upper = np.arange(len(members)) % 2 == 0
        means = np.stack([members[~upper].mean(axis=0), members[upper].mean(axis=0)])
        line = means[1] - means[0]
        along = centred @ (line / max(float(np.linalg.norm(line)), 1e-12))
        weights = (float((~upper).sum()), float(upper.sum()))
        return cls(means, weights, [float(along[~upper].var()), float(along[upper].var())])

    @classmethod
    def around(cls, mean: Float32s) -> Halves:
        """The halves of a topic of which only the mean is known."""
        return cls(np.stack([mean, mean]), [1.0, 1.0], [0.0, 0.0])

    def add(self, member: Float32s) -> None:
        """Put a member, (d,) float32, into the nearer half."""
        apart = member - self._means
        side = int(apart[1] @ apart[1] < apart[0] @ apart[0])
        weight = self._weights[side] = min(self._weights[side] + 1, HORIZON)
        self._weights[1 - side] *= 1 - 1 / HORIZON
        line = self._means[1] - self._means[0]
        if (length_squared := float(line @ line)) > 0:
            along_squared = float(line @ apart[side]) ** 2 / length_squared
            self._variances[side] += (along_squared - self._variances[side]) / weight
        self._means[side] += apart[side] / np.float32(weight)

    def are_two(self, min_members: int) -> bool:
        """Whether the halves are two groups, each with some recent members."""
        least = min(self._weights)
        if least < min_members or least < MIN_SHARE * sum(self._weights):
            return False
        apart = float(np.linalg.norm(self._means[1] - self._means[0]))
        return apart > MIN_GAP * float(np.sqrt(sum(self._variances) / 2))

    @property
    def similarity(self) -> float:
        """The cosine of the two means."""
        first, second = self._means
        return float(first @ second) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12)

    @property
    def by_weight(self) -> tuple[Half, Half]:
        """The smaller half and the larger one."""
        first, second = (Half(mean, weight) for mean, weight in zip(self._means, self._weights, strict=True))
        return (second, first) if second.weight < first.weight else (first, second)

    def snapshot(self) -> list[Any]:
        """State as plain values; `restored` takes it."""
        return [self._means.astype("<f4").tobytes(), self._weights, self._variances]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Halves:
        """The halves that gave this state."""
        means, weights, variances = state
        return cls(np.frombuffer(means, dtype="<f4").reshape(2, -1).astype(np.float32), weights, variances)
