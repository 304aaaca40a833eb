"""Sinks that need no broker."""

from __future__ import annotations

from collections.abc import Sequence

from driftgauge.connectors.base import Message
from driftgauge.connectors.testing.crash_plan import CrashPlan


class MemorySink:
    """Everything that was published, in order, duplicates included."""

    def __init__(self, *, crash: CrashPlan | None = None) -> None:
        self.messages: list[Message] = []
        self._crash = crash or CrashPlan()

    def publish(self, messages: Sequence[Message]) -> None:
        """Append one by one."""
        for message in messages:
            with self._crash.effect("publish"):
                self.messages.append(message)

    def close(self) -> None:
        """Nothing is held."""


class NoSink:
    """Publishes nothing: for a replay, whose outputs must not be published."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Drop the messages; their outputs stay in the store."""

    def close(self) -> None:
        """Nothing is held."""
