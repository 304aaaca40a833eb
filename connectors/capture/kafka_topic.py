"""Publishes the generation events of this process to a Kafka topic, from a bounded queue in memory and in a thread."""

from __future__ import annotations

import atexit
from types import TracebackType
from typing import Self

from driftgauge.connectors.capture.outbox import Outbox, OutboxCounts
from driftgauge.connectors.capture.publisher import Publisher
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.sink import KafkaSink


class KafkaTopic:
    """The ``publish`` of a tap: ``Tap(KafkaTopic(KafkaConnection(("kafka:9092",))))``.

    No call waits for the broker. Where a process forks, make it after the fork: threads do not survive one.

    Parameters
    ----------
    topic : an existing topic
    max_bytes : bytes of events without acknowledgement from which on new ones are dropped
    close_s : seconds that queued events have to be published when the block or the program ends

    Examples
    --------
    >>> with KafkaTopic(KafkaConnection(("127.0.0.1:1",)), close_s=0.0) as topic:
    ...     topic(b"r-1", b"event")
    True
    >>> topic.counts().dropped
    {'shutdown': 1}
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str = "generations",
        *,
        max_bytes: int = 64 * 2**20,
        close_s: float = 10.0,
    ) -> None:
        self._topic, self._close_s = topic, close_s
        self._outbox = Outbox(max_bytes)
        sink = KafkaSink(connection)
        self._publisher = Publisher(
            self._outbox, sink, prepare=lambda: sink.check([topic]), oversized=lambda: sink.stats.oversized
        )
        self._publisher.start()
        atexit.register(self.close)

    def __call__(self, key: bytes, value: bytes) -> bool:
        """Queue an event; False where it was dropped."""
        return self._outbox.put(self._topic, key, value)

    @property
    def problem(self) -> str:
        """Why events are not published; "" while they are."""
        return self._publisher.problem

    def counts(self) -> OutboxCounts:
        """Count what became of the events."""
        return self._outbox.counts()

    def close(self) -> None:
        """Publish what is queued, for ``close_s`` at most; the rest is dropped, counted and logged."""
        atexit.unregister(self.close)
        self._publisher.close(self._close_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
