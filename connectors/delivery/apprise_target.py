"""Alerts to the many services that Apprise knows: Teams, Discord, Opsgenie, Google Chat and some 170 more.

Apprise has no queue, and does not say whether a failure is for good. So each call here is one attempt, a failure means
"later", and after ``attempts`` failures the message is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.receiver import SENT, SOURCE, Outcome, without_mentions
from driftgauge.models.alerts.guide import action, is_over, listed, summary
from driftgauge.models.outputs import Alert


class AppriseTarget:
    """One target of Apprise. Its address holds secrets, and is in no text made from this object.

    Parameters
    ----------
    url : as Apprise wants it, such as ``discord://id/token``
    attempts : failures after which a message is given up
    timeout_s : for an attempt; 0: that of the service

    Raises
    ------
    ConnectorError
        The package is not installed, or it does not know such an address.
    """

    takes_groups: ClassVar[bool] = True

    def __init__(self, url: str, *, attempts: int = 100, timeout_s: float = 10.0) -> None:
        try:
            import apprise
        except ImportError:
            text = "Apprise is not installed: pip install 'driftgauge[apprise]'"
            raise ConnectorError(text, retriable=False) from None
        logging.getLogger("apprise").disabled = True  # it writes addresses
        asset = apprise.AppriseAsset(app_id=SOURCE, http_redirects=False, secure_logging=True)
        self._apprise: Any = apprise.Apprise(asset=asset)
        if not self._apprise.add(url):
            raise ConnectorError("Apprise does not know such an address", retriable=False)
        self._attempts, self._timeout_s = attempts, timeout_s
        self._failed = ("", 0)

    def send(self, alerts: Sequence[Alert], /) -> Outcome:
        """Send one message, in one attempt."""
        first = alerts[0]
        lines = [f"What to do: {action(first)}.", *listed(alerts)]
        kind = "success" if is_over(first) else {"alarm": "failure", "warning": "warning"}.get(first.severity, "info")
        sent = self._apprise.notify(
            body=without_mentions("\n".join(lines)),
            title=without_mentions(summary(alerts)),
            notify_type=kind,
            timeout=self._timeout_s,
        )
        if sent:
            return SENT
        key, n = self._failed
        self._failed = (first.key, n + 1 if key == first.key else 1)
        if self._failed[1] >= self._attempts:
            return Outcome("never", f"the service did not take it in {self._attempts} attempts")
        return Outcome("later", "the service did not take it")
