"""Kafka topics as a sink: messages are published and acknowledged by every in-sync replica.

Owns one producer. In memory are the messages of one call of `KafkaSink.publish`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from driftgauge.connectors.base import Message
from driftgauge.connectors.kafka.client import MIB, KafkaStats, connect, explained
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import existing_topics, missing_topics

log = logging.getLogger(__name__)

LINGER_MS = 5


class KafkaSink:
    """Publishes to topics; implements `driftgauge.connectors.base.Sink`.

    A message without a topic is not published: its output is switched off. A message larger than ``max_bytes``, or
    larger than its broker accepts, is not published either: it is counted and logged, and its content stays in the
    store. After any other failure the producer is replaced, because a producer that failed may never recover.

    Parameters
    ----------
    max_bytes : largest message, key and headers included
    delivery_timeout_s : seconds within which a message must be acknowledged
    compression : codec of the batches, such as ``lz4``; None: they are not compressed
    shortened : the value in the place of one that is too large, from it and the largest size; None: there is none
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        max_bytes: int = 32 * MIB,
        delivery_timeout_s: float = 30.0,
        compression: str | None = None,
        shortened: Callable[[bytes, int], bytes] | None = None,
    ) -> None:
        self.stats = KafkaStats()
        self._connection = connection
        self._max_bytes = max_bytes
        self._delivery_timeout_s = delivery_timeout_s
        self._compression = compression
        self._shortened = shortened
        self._refused_sizes: dict[str, int] = {}
        self._producer: KafkaProducer | None = None

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when every in-sync replica has all messages; raise `ConnectorError` otherwise."""
        remaining = [message for message in messages if message.topic]
        while remaining:
            try:
                remaining = self._send(remaining)
            except (KafkaError, OSError) as error:
                self._close_producer()
                self.check({message.topic for message in remaining})
                raise explained(error, self._connection) from error

    def check(self, topics: Iterable[str]) -> None:
        """Raise `ConnectorError` where the cluster cannot be reached, or naming the topics that are missing."""
        # the client itself only waits for missing topics until it times out
        if missing := sorted({*topics} - existing_topics(self._connection)):
            raise missing_topics(missing, "write to")

    def n_partitions(self, topic: str) -> int:
        """Number of partitions of a topic; an error where it does not exist."""
        self.check([topic])
        try:
            return len(self._ready().partitions_for(topic))
        except (KafkaError, OSError) as error:
            raise explained(error, self._connection) from error

    def close(self) -> None:
        """Release the producer; safe to call twice. Published messages are acknowledged already."""
        self._close_producer()

    def _send(self, messages: Sequence[Message]) -> list[Message]:
        """Publish, and return the messages that must be sent again because the broker refused one as too large."""
        fitting = [fitting for message in messages if (fitting := self._fitting(message)) is not None]
        in_flight = [(message, self._start_sending(message)) for message in fitting]
        for message, future in in_flight:
            try:
                future.get(self._delivery_timeout_s)
            except MessageSizeTooLargeError:
                self._refused_sizes[message.topic] = message.n_bytes
                self._close_producer()
                self.stats.reconnects += 1
                return [other for other, result in in_flight if not result.succeeded()]
        return []

    def _start_sending(self, message: Message) -> Any:
        return self._ready().send(
            message.topic, message.value, message.key, headers=list(message.headers), partition=message.partition
        )

    def _ready(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = self._open_producer()
        return self._producer

    def _fitting(self, message: Message) -> Message | None:
        """The message, or what there is in its place, if that fits."""
        bound = min(self._max_bytes, self._refused_sizes.get(message.topic, self._max_bytes))
        if self._fits(message, bound):
            return message
        if self._shortened is not None:
            short = replace(message, value=self._shortened(message.value, bound))
            if short.n_bytes < bound:
                return short
        return None

    def _fits(self, message: Message, bound: int) -> bool:
        size = message.n_bytes
        if size < bound:
            return True
        self.stats.oversized += 1
        log.error("a message of %d bytes is too large for topic %s and was not published whole", size, message.topic)
        return False

    def _open_producer(self) -> KafkaProducer:
        return connect(
            KafkaProducer,
            self._connection,
            acks="all",
            enable_idempotence=True,  # each partition gets the messages in order, also when some are sent again
            linger_ms=LINGER_MS,
            compression_type=self._compression,
            max_request_size=2 * self._max_bytes,  # the check of `_fits` is the stricter one
            delivery_timeout_ms=int(self._delivery_timeout_s * 1000),
            # a request that times out is not repeated: the client would wait for the next connection in a busy loop
            request_timeout_ms=int(self._delivery_timeout_s * 1000) - 2 * LINGER_MS,
            max_block_ms=int(self._connection.connect_timeout_s * 1000),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=0)
            except (
                KafkaError,
                OSError,
            ):  # messages are left that cannot be delivered: without force its thread runs on
                producer._sender.force_close()
