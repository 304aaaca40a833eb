"""What views know besides the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Known:
    """What the settings say.

    Attributes
    ----------
    targets, default_target : accuracy in [0, 1]
    confidence_level : of intervals around shares
    period_s : seconds of the period that "newest" means where a span is asked for without bounds
    """

    targets: Mapping[str, float] = field(default_factory=dict)
    default_target: float = 0.8
    confidence_level: float = 0.9
    period_s: float = 86_400.0

    def target(self, domain: str) -> float:
        """The target of a domain."""
        return self.targets.get(domain, self.default_target)
