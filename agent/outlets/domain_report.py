"""One domain in one context as reports and the API see it: its estimate against its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from driftgauge.models.outputs import Estimate

Verdict: TypeAlias = Literal["below target", "unclear", "no estimate", "meets target"]
VERDICTS: tuple[Verdict, ...] = ("below target", "unclear", "no estimate", "meets target")
"""Worst first: the order in which domains are listed."""


@dataclass(frozen=True, slots=True)
class DomainReport:
    """One domain in one context: its newest estimate of the period, and the newest of the period before.

    ``history`` has estimates of the period, by window end; the last is ``estimate``.
    """

    estimate: Estimate
    previous: Estimate | None
    target: float
    history: tuple[Estimate, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The interval compared with the target; "unclear" when the target lies inside the interval."""
        low, high = self.estimate.ci_low, self.estimate.ci_high
        if low is None or high is None:
            return "no estimate"
        if high < self.target:
            return "below target"
        return "meets target" if low >= self.target else "unclear"

    @property
    def change(self) -> float | None:
        """Accuracy now minus accuracy in the period before; None when either is unknown."""
        if self.previous is None or self.previous.accuracy is None or self.estimate.accuracy is None:
            return None
        return self.estimate.accuracy - self.previous.accuracy

    @property
    def order(self) -> tuple[int, float, str, str]:
        """Sorts domains: by verdict, then by what is missing to the target."""
        e = self.estimate
        beyond = 0.0 if e.accuracy is None else e.accuracy - self.target
        return VERDICTS.index(self.verdict), round(beyond, 6), e.domain, e.fingerprint
