"""What can be observed of the loop: metrics, health, logs and tables follow the agent without changing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.models.account import Account
from driftgauge.models.outputs import Output

if TYPE_CHECKING:  # the state brings the classifiers: two seconds, which the process for HTTP does not need
    from driftgauge.agent.core.state import State


class Observer:
    """Follows what the loop does. A subclass defines what it takes note of, and ignores the rest."""

    def resumed(self, state: State) -> None:
        """Take note of the state that the loop read from the store and goes on from."""

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:
        """Take note of a committed batch; ``records`` is empty when no record caused the outputs."""

    def account(self, account: Account) -> None:
        """Take note of what became of all records since the start; called after each committed batch."""

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """Take note of the number of unread records per partition."""

    def failure(self, error: ConnectorError | None) -> None:
        """Take note of the error after which the loop waits; None: a round of the loop succeeded."""
