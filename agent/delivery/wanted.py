"""Which alerts a sink gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from driftgauge.models.outputs import Alert
from driftgauge.models.series import ALL_DOMAINS

TOLD = frozenset({"firing", "no_data", "resolved"})
"""States that people are told of."""


@dataclass(frozen=True)
class Wanted:
    """The severities, kinds and domains that a sink gets; an empty collection: all.

    An alert about all domains concerns each of them. Pending alerts, and alerts that another one makes superfluous,
    are for nobody.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> alert = SimpleNamespace(kind="drift", severity="warning", domain="law", state="firing", inhibited_by="")
    >>> Wanted(severities={"warning"})(alert), Wanted(kinds={"below_target"})(alert), Wanted(domains={"tax"})(alert)
    (True, False, False)
    """

    severities: Collection[str] = ()
    kinds: Collection[str] = ()
    domains: Collection[str] = ()

    def __call__(self, alert: Alert) -> bool:
        """Whether the sink gets this alert."""
        return (
            alert.state in TOLD
            and not alert.inhibited_by
            and (not self.severities or alert.severity in self.severities)
            and (not self.kinds or alert.kind in self.kinds)
            and (not self.domains or alert.domain in (*self.domains, ALL_DOMAINS))
        )
