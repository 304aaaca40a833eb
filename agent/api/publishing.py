"""Publishes what clients post, and waits until the broker has it. Requests of the same moment are published together.

Bounded by `MAX_WAITING_BYTES` of requests that wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from anyio import to_thread

from driftgauge.agent.api.problem import Problem
from driftgauge.connectors.base import ConnectorError, Message

if TYPE_CHECKING:
    from driftgauge.connectors.kafka.sink import KafkaSink

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 * 2**20

_AWAY = {"retry-after": "5"}


class _Waiting(NamedTuple):
    messages: Sequence[Message]
    done: asyncio.Future[None]


class Publishing:
    """Publishes to Kafka for any number of requests at once.

    Parameters
    ----------
    open_sink : called at the first request
    """

    def __init__(self, open_sink: Callable[[], KafkaSink]) -> None:
        self._open_sink = open_sink
        self._sink: KafkaSink | None = None
        self._waiting: list[_Waiting] = []
        self._n_bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when every in-sync replica has the messages.

        Raises
        ------
        Problem
            503 when the broker cannot be reached or too much waits, 413 when it refuses a message as too large. Some of
            the messages may have been published; publish all again.
        """
        size = sum(len(message.value) for message in messages)
        if self._n_bytes + size > MAX_WAITING_BYTES:
            raise Problem(503, "too many requests wait for the broker", headers=_AWAY)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(messages, done))
        self._n_bytes += size
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            await done
        finally:
            self._n_bytes -= size

    def close(self) -> None:
        """Release the connection to the broker."""
        if self._sink is not None:
            self._sink.close()

    async def _run(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            problems = await to_thread.run_sync(self._publish, [waiting.messages for waiting in taken])
            for waiting, problem in zip(taken, problems, strict=True):
                if not waiting.done.done():  # a client that is gone waits no more
                    waiting.done.set_exception(problem) if problem else waiting.done.set_result(None)
        self._task = None

    def _publish(self, requests: Sequence[Sequence[Message]]) -> list[Problem | None]:
        """What went wrong with each of the requests."""
        problem = self._attempt([message for messages in requests for message in messages])
        if problem is None or problem.status != 413 or len(requests) == 1:
            return [problem] * len(requests)
        return [self._attempt(messages) for messages in requests]  # one was too large: find out which

    def _attempt(self, messages: Sequence[Message]) -> Problem | None:
        try:
            sink = self._sink = self._sink or self._open_sink()
            n_before = sink.stats.oversized
            sink.publish(messages)
        except ConnectorError as error:
            return Problem(503, str(error), headers=_AWAY)
        except Exception:  # whatever it is: this and all later requests would wait for ever
            log.exception("publishing failed")
            return Problem(500, "publishing failed; the log has the cause")
        return Problem(413, "the broker accepts no record as large") if sink.stats.oversized > n_before else None
