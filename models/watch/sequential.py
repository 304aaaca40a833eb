"""Tests that may be repeated after every label: confidence sequences, and evidence for accuracy below a target.

Owns the sequential guarantees. An ordinary 95 % interval that is checked after every label raises a false alarm in
nearly half of long runs; these tests do so in at most the promised share of runs, over any horizon, for labels in
[0, 1]. Constant memory, constant cost for a label. Sources: Waudby-Smith and Ramdas (2024) for betting, Shin, Ramdas
and Rinaldo (2023) for restarts (e-detectors), Waudby-Smith and others (2022) for weights in bets.

The order of labels must not depend on their values. Where responses were chosen for labelling with unequal known
probabilities, bets are scaled by weight = 1 / probability over the largest weight (`LargestWeight`), which makes them
fair for the accuracy of all responses. The guarantee is exact when probabilities are equal, or when the smallest one
is known; otherwise it holds from the first label with the smallest probability on.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np

from driftgauge.models.arrays import Float64s
from driftgauge.models.label_weights import LargestWeight
from driftgauge.models.watch.detector import Description, DetectorSettings

_BETS = np.array([0.02, 0.05, 0.1, 0.18, 0.3, 0.45, 0.65, 0.9])  # shares of the largest bet that cannot lose all
N_BETS = len(_BETS)
_HIGHEST_TARGET = 0.999  # one wrong label would disprove 1
_MEANS = np.arange(1, 200) / 200
_STEP = float(_MEANS[0])


class BelowTarget:
    """Evidence that the accuracy of one domain has fallen below its target: an e-process restarted at every label.

    It bets a little on every label against the hypothesis "accuracy is at least ``target``". One bettor starts at
    each label i with 1 / log(i - 1 + e) - 1 / log(i + e) of the money (these shares sum to 1), so a fall is detected
    soon whenever it comes, and old good labels do not hide it. If the accuracy is never below the target, ``evidence``
    ever reaches 1 / alpha with probability at most alpha (Ville's inequality). The wealth of each bettor is capped at
    the amount that this takes, so that the evidence falls soon when labels become good again.

    It is a `ChangeDetector` of labels. `AccuracyWatch` uses it for the alarms of a domain.

    Parameters
    ----------
    target : in [0, 1]; a target above .999 is taken as .999
    alpha : the share of healthy domains that may ever raise a false alarm; see `budget` for many domains
    smallest_probability : inclusion probability of the labelling plan, in (0, 1]; None: unknown. A label that is
        heavier than the plan allows counts as one of the largest allowed weight where it is evidence against the
        target, and with its full weight where it is evidence for it

    Examples
    --------
    >>> monitor = BelowTarget(target=0.9, alpha=0.05)
    >>> any(monitor.update(1.0) for _ in range(1000)), any(monitor.update(0.0) for _ in range(15))
    (False, True)
    """

    description: ClassVar[Description] = Description("below_target", "fall_below_target", 0.0, 1.0, max_state_bytes=128)

    def __init__(self, target: float, alpha: float = 0.05, smallest_probability: float | None = None) -> None:
        self.target = min(target, _HIGHEST_TARGET)
        self.alpha = alpha
        self.n_labels = 0
        self._largest_weight = LargestWeight(smallest_probability)
        self._wealth = np.zeros(N_BETS)

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no labels; ``delta`` is its alpha."""
        return cls(settings.target, settings.delta)

    def false_alarm_share(self, n_values: int) -> float:
        """``alpha``, for any number of labels of equal weight."""
        del n_values
        return self.alpha

    @property
    def evidence(self) -> float:
        """The present e-value: the factor by which a fair bet against the target would have multiplied its money."""
        return float(self._wealth.mean())

    def update(self, correct: float, weight: float = 1.0) -> bool:
        """Take the next label, in [0, 1], of positive weight; returns whether the evidence is now enough.

        NaN is missing: it is ignored.
        """
        if math.isnan(correct):
            return False
        self.n_labels += 1
        scale = self._largest_weight.relative(weight)
        if correct < self.target:
            scale = min(scale, 1.0)
        wealth = grown(self._wealth, self.n_labels, np.float64(correct), self.target, scale)
        self._wealth = np.minimum(wealth, N_BETS / self.alpha)
        return self.evidence >= 1 / self.alpha

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self.n_labels, self._largest_weight.value, self._wealth.tolist()]

    def restore(self, state: list[Any], /) -> Self:
        """Continue from a snapshot; returns self."""
        self.n_labels = state[0]
        self._largest_weight.restore(state[1])
        self._wealth = np.array(state[2])
        return self


def grown(
    wealth: Float64s, n_labels: int, correct: Float64s | np.float64, target: Float64s | float, scale: float = 1.0
) -> Float64s:
    """Wealth of the bettors after the next label of some streams.

    Parameters
    ----------
    wealth : (…, bets) before the label
    n_labels : number of this label in its stream, from 1
    correct : (…,) the label of each stream, in [0, 1]
    target : (…,) or one for all
    scale : positive; makes all bets on this label smaller or larger. No bet loses more than the wealth

    Returns
    -------
    (…, bets) after the label
    """
    share = 1 / math.log(n_labels - 1 + math.e) - 1 / math.log(n_labels + math.e)
    advantage = np.asarray(scale * (target - correct) / (1 - target))
    factor = np.maximum(1 + _BETS * advantage[..., None], 0.0)
    return np.asarray(np.minimum((wealth + share) * factor, 1e300))


def budget(alpha: float, rank: int) -> float:
    """The part of a false-alarm budget for the ``rank``-th domain (from 1); the sum of all parts is at most the budget.

    >>> sum(budget(0.05, rank) for rank in range(1, 1000)) < 0.05
    True
    """
    return alpha / (rank * (rank + 1))


class ConfidenceSequence:
    """An interval for a constant accuracy that may be read after every label.

    With probability ``confidence_level``, all intervals after 1, 2, … labels hold the accuracy. The method is
    predictable plug-in betting on a grid of 199 accuracies. When the labels have ruled out every accuracy, it was not
    constant, and the sequence starts again without labels. A label that is heavier than the labelling plan allows
    counts as one of the largest allowed weight.

    Examples
    --------
    >>> sequence = ConfidenceSequence(0.9)
    >>> for correct in [1.0, 1.0, 0.0, 1.0] * 50:
    ...     sequence.update(correct)
    >>> low, high = sequence.interval
    >>> low < 0.75 < high, high - low < 0.25
    (True, True)
    """

    def __init__(self, confidence_level: float = 0.9, smallest_probability: float | None = None) -> None:
        self.confidence_level = confidence_level
        self.smallest_probability = smallest_probability
        self._start()

    def _start(self) -> None:
        self.n_labels = 0
        self._largest_weight = LargestWeight(self.smallest_probability)
        self._total = self._squares = 0.0
        self._up, self._down = np.zeros(len(_MEANS)), np.zeros(len(_MEANS))  # log capital of two bettors a mean
        self._is_alive = np.ones(len(_MEANS), dtype=np.bool_)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lowest and highest accuracy that the labels have not ruled out; None before the first label."""
        if not self.n_labels:
            return None
        alive = _MEANS[self._is_alive]
        return float(alive[0]) - _STEP, float(alive[-1]) + _STEP

    def update(self, correct: float, weight: float = 1.0) -> None:
        """Take the next label, in [0, 1], of positive weight."""
        limit = math.log(2 / (1 - self.confidence_level))
        bet = self._bet(limit)
        surplus = min(self._largest_weight.relative(weight), 1.0) * (correct - _MEANS)
        self._up += np.log1p(np.minimum(bet, 0.5 / _MEANS) * surplus)
        self._down += np.log1p(-np.minimum(bet, 0.5 / (1 - _MEANS)) * surplus)
        self._is_alive &= np.maximum(self._up, self._down) < limit
        self._count(correct)
        if not self._is_alive.any():
            self._start()

    def _bet(self, limit: float) -> float:
        """The bet on the next label, computed from the labels before it."""
        i = self.n_labels + 1
        variance = (0.25 + self._squares) / i
        return math.sqrt(2 * limit / (variance * i * math.log1p(i)))

    def _count(self, correct: float) -> None:
        self.n_labels += 1
        self._total += correct
        self._squares += (correct - (0.5 + self._total) / (self.n_labels + 1)) ** 2

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        sums = [self.n_labels, self._largest_weight.value, self._total, self._squares]
        return [sums, self._up.tobytes(), self._down.tobytes(), self._is_alive.tobytes()]

    def restore(self, state: list[Any]) -> ConfidenceSequence:
        """Continue from a snapshot; returns self."""
        sums, up, down, alive = state
        self.n_labels, largest_weight, self._total, self._squares = sums
        self._largest_weight.restore(largest_weight)
        self._up, self._down = np.frombuffer(up).copy(), np.frombuffer(down).copy()
        self._is_alive = np.frombuffer(alive, dtype=np.bool_).copy()
        return self
