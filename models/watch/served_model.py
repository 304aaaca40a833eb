"""Whether the model behind a name changed, told by prompts that recur.

The opening of a response to the same prompt moves when the model, its weights or its template change, and not when the
traffic changes. Owns the openings of `MAX_PROMPTS` prompts of one context: the one silent longest gives way.

The distance of a new opening from the first one of its prompt is ranked among the earlier distances of that prompt.
While the model stays the same, these are exchangeable, so the ranks have the mean one half whatever the prompts are and
however often each comes; `OffCentre` collects evidence against that mean over all prompts.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s
from driftgauge.models.signals.opening import distance
from driftgauge.models.watch.detector import MeanChange
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.runs import Runs

MAX_PROMPTS = 100
MAX_DISTANCES = 32
"""Distances that are kept of a prompt, and of the newest of all prompts."""

MIN_DISTANCES = 2
"""Earlier distances of a prompt from which the next one gets a rank."""

MIN_SHIFT_NATS = 0.01
"""Growth of the mean distance that counts: less than this is another kernel or batch size, not another model."""


@dataclass(slots=True)
class _Prompt:
    opening: Float32s
    distances: list[float]  # in the order they came
    ranked: list[float]  # the same, sorted


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The openings moved: mean distance in nats ``before`` and ``after`` ``since``, by ``n`` openings after it."""

    before: float
    after: float
    since: float
    n: int


class RecurringPrompts:
    """The openings of one context.

    Examples
    --------
    >>> prompts, same, other = RecurringPrompts(), np.full(13, -1.0), np.full(13, -1.3)
    >>> seen = [prompts.see(str(i % 5), same, float(i), 1e-4, is_greedy=False) for i in range(100)]
    >>> moved = [prompts.see(str(i % 5), other, float(i), 1e-4, is_greedy=False) for i in range(100, 130)]
    >>> any(seen), [(round(m.before, 1), round(m.after, 1), m.since) for m in moved if m]
    (False, [(0.0, 0.3, 100.0)])
    """

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}
        self._evidence, self._runs = OffCentre(), Runs()
        self._newest: list[tuple[float, float]] = []  # distance and event time

    def see(
        self, prompt: str, opening: Float32s, event_time: float, allowance: float, *, is_greedy: bool
    ) -> ModelChange | None:
        """Take the opening of a response to a prompt; returns a change of the model when it is detected now.

        ``allowance`` is the expected number of false detections that it adds at most (`Allowance`).
        """
        known = self._prompts.pop(prompt, None)
        if known is None:
            if len(self._prompts) >= MAX_PROMPTS:
                del self._prompts[next(iter(self._prompts))]
            self._prompts[prompt] = _Prompt(opening, [], [])
            return None
        self._prompts[prompt] = known  # moved to the end
        apart = distance(known.opening, opening, is_greedy=is_greedy)
        if math.isnan(apart):
            return None
        rank = _rank(known.ranked, apart) if len(known.ranked) >= MIN_DISTANCES else None
        _keep(known, apart)
        if rank is None:
            return None
        self._newest = [*self._newest[1 - 4 * MAX_DISTANCES :], (apart, event_time)]
        self._runs.update(rank - 0.5, rank, event_time)
        found = self._runs.change
        return self._change(found) if self._evidence.update(rank, allowance) and found is not None else None

    def _change(self, found: MeanChange) -> ModelChange | None:
        """The change that was detected; everything is learned anew, also after one too small to matter."""
        n = min(found.n_after, len(self._newest))
        before, after = self._newest[:-n], self._newest[-n:]
        means = [float(np.mean([apart for apart, _ in part])) if part else 0.0 for part in (before, after)]
        self._prompts, self._newest = {}, []
        self._evidence.restart()
        self._runs.restart()
        if found.after < 0.5 or means[1] - means[0] < MIN_SHIFT_NATS:
            return None
        return ModelChange(means[0], means[1], after[0][1], n)

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        prompts = [
            (name, one.opening.astype("<f4").tobytes(), np.array(one.distances, dtype="<f8").tobytes())
            for name, one in self._prompts.items()
        ]
        return [prompts, self._evidence.snapshot(), self._runs.snapshot(), self._newest]

    def restore(self, state: Sequence[Any]) -> RecurringPrompts:
        """Continue from a snapshot; returns self."""
        prompts, evidence, runs, newest = state
        for name, opening, distances in prompts:
            found: list[float] = np.frombuffer(distances, dtype="<f8").tolist()
            self._prompts[name] = _Prompt(np.frombuffer(opening, dtype="<f4"), found, sorted(found))
        self._evidence.restore(evidence)
        self._runs.restore(runs)
        self._newest = [(apart, at) for apart, at in newest]
        return self


def _rank(ranked: Sequence[float], value: float) -> float:
    """The middle rank of a value among sorted ones and itself, in (0, 1)."""
    low, high = bisect_left(ranked, value), bisect_right(ranked, value)
    return (low + (high - low + 1) / 2) / (len(ranked) + 1)


def _keep(prompt: _Prompt, apart: float) -> None:
    if len(prompt.distances) >= MAX_DISTANCES:
        prompt.ranked.remove(prompt.distances.pop(0))
    prompt.distances.append(apart)
    insort(prompt.ranked, apart)
