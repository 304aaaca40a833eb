"""What the labels of one domain prove about its accuracy: whether it is below target, and in which interval it lies.

Owns the life of an alarm. It is raised when the evidence against the target is enough, and resolved when that evidence
is gone. After that a new `BelowTarget` watches the domain with the next, smaller part of the false-alarm budget. Each
response counts once, with the first truth that its labels gave: a bet that is settled cannot be revised. Constant
memory, constant cost for a label.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from driftgauge.models.watch.sequential import BelowTarget, ConfidenceSequence, budget

Turn: TypeAlias = Literal["raised", "resolved"]


class AccuracyWatch:
    """Compares the labels of one domain with its target, one at a time, in the order of arrival.

    Parameters
    ----------
    target : the accuracy wanted, in [0, 1]
    alpha : probability that this domain ever raises a false alarm
    confidence_level : of `interval`
    smallest_probability : inclusion probability of the labelling plan, in (0, 1]; None: unknown (`LargestWeight`)

    Attributes
    ----------
    n_labels : labels taken
    is_raised : whether an alarm is open
    n_raised : alarms raised so far
    since : event time of the response whose label began the present evidence against the target; None without evidence
    n_since : labels since then
    right_since : sum of these labels

    Examples
    --------
    >>> watch = AccuracyWatch(target=0.9, alpha=0.05)
    >>> [turn for correct in [1.0] * 50 + [0.0] * 20 + [1.0] * 80 if (turn := watch.update(correct, 1.0, 0.0))]
    ['raised', 'resolved']
    """

    def __init__(
        self,
        target: float,
        alpha: float = 0.05,
        confidence_level: float = 0.9,
        smallest_probability: float | None = None,
    ) -> None:
        self.target, self.alpha = target, alpha
        self.confidence_level, self.smallest_probability = confidence_level, smallest_probability
        self.n_labels = 0
        self.is_raised = False
        self.n_raised = 0
        self.since: float | None = None
        self.n_since, self.right_since = 0, 0.0
        self._monitor = self._new_monitor(1)
        self._sequence = self._new_sequence()

    def _new_monitor(self, part: int) -> BelowTarget:
        return BelowTarget(self.target, budget(self.alpha, part), self.smallest_probability)

    def _new_sequence(self) -> ConfidenceSequence:
        return ConfidenceSequence(self.confidence_level, self.smallest_probability)

    @property
    def interval(self) -> tuple[float, float] | None:
        """An interval for the accuracy since an alarm was last raised or resolved, for reading after any label."""
        return self._sequence.interval

    def update(self, correct: float, weight: float, event_time: float) -> Turn | None:
        """Take the next label, in [0, 1], of a response at this event time; returns whether it turned the alarm."""
        self.n_labels += 1
        is_enough = self._monitor.update(correct, weight)
        self._sequence.update(correct, weight)
        self.n_since, self.right_since = self.n_since + 1, self.right_since + correct
        self.since = event_time if self.since is None else self.since
        if is_enough and not self.is_raised:
            self.is_raised, self.n_raised = True, self.n_raised + 1
            self._sequence = self._new_sequence()
            return "raised"
        if self._monitor.evidence >= 1:
            return None
        self.since, self.n_since, self.right_since = None, 0, 0.0
        return self._resolve() if self.is_raised else None

    def _resolve(self) -> Turn:
        self.is_raised = False
        self._monitor = self._new_monitor(self.n_raised + 1)
        self._sequence = self._new_sequence()
        return "resolved"

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        raised = [self.is_raised, self.n_raised, self.since, self.n_since, self.right_since]
        return [self.target, self.n_labels, raised, self._monitor.snapshot(), self._sequence.snapshot()]

    def restore(self, state: list[Any]) -> AccuracyWatch:
        """Continue from a snapshot, or without labels when the snapshot had another target; returns self."""
        target, n_labels, raised, monitor, sequence = state
        if target == self.target:
            self.n_labels = n_labels
            self.is_raised, self.n_raised, self.since, self.n_since, self.right_since = raised
            part = self.n_raised if self.is_raised else self.n_raised + 1
            self._monitor = self._new_monitor(part).restore(monitor)
            self._sequence.restore(sequence)
        return self
