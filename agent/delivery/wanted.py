"""Which alerts a sink gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from driftgauge.models.alert_guide import RESOLVES
from driftgauge.models.outputs import Alert

_SEVERITY_OF = {"below_target": "alarm"}


@dataclass(frozen=True)
class Wanted:
    """The severities, kinds and domains that a sink gets; an empty collection: all.

    An alert that ends another one passes where that one passes: who hears of an alarm hears of its end.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> end = SimpleNamespace(kind="back_on_target", severity="info", domain="law")
    >>> Wanted(severities={"alarm"})(end), Wanted(kinds={"drift"})(end), Wanted(domains={"tax"})(end)
    (True, False, False)
    """

    severities: Collection[str] = ()
    kinds: Collection[str] = ()
    domains: Collection[str] = ()

    def __call__(self, alert: Alert) -> bool:
        """Whether the sink gets this alert."""
        kind = RESOLVES.get(alert.kind, alert.kind)
        severity = _SEVERITY_OF.get(kind, alert.severity)
        return (
            (not self.severities or severity in self.severities)
            and (not self.kinds or kind in self.kinds or alert.kind in self.kinds)
            and (not self.domains or alert.domain in self.domains)
        )
