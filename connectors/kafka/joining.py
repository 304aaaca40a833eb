"""A join that the broker has answered between two polls counts.

The client joins its group in a background task. When the task ends while nobody polls, the next poll drops its outcome
and joins again. If that member leads the group, all others must join again as well, and the same may happen to the
next outcome: for minutes nobody reads. To keep the outcome, this uses methods that are private to the client.
"""

from __future__ import annotations

from typing import Any


def keep_finished_joins(consumer: Any) -> None:
    """Make a ``KafkaConsumer`` use the outcome of a join also when it came between two polls."""
    coordinator = consumer._coordinator
    join, complete = coordinator._do_join_and_sync_async, coordinator._on_join_complete_async
    kept: list[Any] = []  # the assignment of a join, until a poll has taken it

    async def joined() -> Any:
        if not kept:
            kept.append(await join())
        return kept[0]

    async def completed(*arguments: Any) -> None:
        kept.clear()
        await complete(*arguments)

    coordinator._do_join_and_sync_async, coordinator._on_join_complete_async = joined, completed
