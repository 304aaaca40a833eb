"""A silence: some alerts are not delivered until a moment, for a stated reason. They stay in store and topic."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from driftgauge.models.outputs import Alert


@dataclass(frozen=True, slots=True)
class Silence:
    """Silences the alerts that match all its patterns.

    Attributes
    ----------
    kind, domain, slice : patterns with ``*`` and ``?``; empty: any
    until : UTC seconds at which it ends
    reason : why, for others
    number : its name in the store; 0 before it is stored

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> silence = Silence(kind="drift", domain="law-*", until=100.0, reason="new prompts")
    >>> alert = SimpleNamespace(kind="drift", domain="law-de", slice="")
    >>> silence.matches(alert, now=99.0), silence.matches(alert, now=100.0)
    (True, False)
    """

    until: float
    reason: str
    kind: str = ""
    domain: str = ""
    slice: str = ""
    number: int = 0

    def matches(self, alert: Alert, now: float) -> bool:
        """Whether the alert is not to be delivered at this moment, in UTC seconds."""
        patterns = ((self.kind, alert.kind), (self.domain, alert.domain), (self.slice, alert.slice))
        return now < self.until and all(fnmatchcase(value, pattern) for pattern, value in patterns if pattern)
