"""Messages that wait to be published, bounded in bytes. Any thread fills it, the publisher empties it.

A message stays in the outbox until the broker has acknowledged it, so the bound includes what is on its way. The
Kafka client has no such bound.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from driftgauge.connectors.base import Message

HEADERS = (("content-type", b"application/msgpack"),)
OVERHEAD_BYTES = 512
"""Bytes of memory that a message takes beside its key and value."""


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What became of the messages: ``captured`` is ``published`` + the sum of ``dropped`` + ``queued``.

    Attributes
    ----------
    captured : messages that were given to `Outbox.put`
    dropped : by reason
    queued, queued_bytes : messages that are not acknowledged
    oldest_s : seconds that the first of them has waited; 0 where there is none
    """

    captured: int
    published: int
    dropped: dict[str, int]
    queued: int
    queued_bytes: int
    oldest_s: float


class Outbox:
    """A queue of messages in memory: any thread puts, one publisher takes.

    A full outbox drops new messages. Whether it is full does not depend on the size of the new message, so that long
    answers are dropped no more often than short ones; it may exceed its bound by one message.

    Parameters
    ----------
    max_bytes : bytes from which on the outbox is full
    max_message_bytes : size of the largest message, key and value; brokers accept 1 MiB by default
    now : seconds of a clock that never goes back

    Examples
    --------
    >>> outbox = Outbox(max_bytes=600)
    >>> [outbox.put("generations", b"r-1", b"x" * 300) for _ in range(2)]
    [True, False]
    >>> outbox.published(len(outbox.wait(timeout_s=0)))
    >>> outbox.counts()
    OutboxCounts(captured=2, published=1, dropped={'outbox_full': 1}, queued=0, queued_bytes=0, oldest_s=0.0)
    """

    def __init__(
        self, max_bytes: int, *, max_message_bytes: int = 1_000_000, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_bytes, self.max_message_bytes = max_bytes, max_message_bytes
        self._now = now
        self._messages: deque[tuple[float, Message]] = deque()
        self._changed = threading.Condition()
        self._bytes = self._captured = self._published = 0
        self._dropped: Counter[str] = Counter()

    def put(self, topic: str, key: bytes, value: bytes) -> bool:
        """Queue a message; False when it was dropped. Neither waits for the broker nor raises an error."""
        size = len(key) + len(value)
        with self._changed:
            self._captured += 1
            if self._bytes >= self.max_bytes or size > self.max_message_bytes:
                self._dropped["outbox_full" if size <= self.max_message_bytes else "too_large"] += 1
                return False
            self._messages.append((self._now(), Message(self._captured, topic, key, value, HEADERS)))
            self._bytes += size + OVERHEAD_BYTES
            self._changed.notify()
            return True

    def wait(self, *, timeout_s: float, max_messages: int = 500, max_bytes: int = 1 << 20) -> list[Message]:
        """Return the first messages, at least one if there is any, at most ``timeout_s`` later; all stay queued."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages, timeout_s)
            first: list[Message] = []
            size = 0
            for _, message in islice(self._messages, max_messages):
                size += len(message.value)
                if first and size > max_bytes:
                    break
                first.append(message)
            return first

    def published(self, n: int, *, refused: int = 0) -> None:
        """Remove the first ``n`` messages: the broker has them, except for ``refused`` ones, which it never accepts."""
        with self._changed:
            self._remove(n)
            self._published += n - refused
            self._dropped.update({"refused_by_broker": refused} if refused else {})

    def drop_all(self, reason: str) -> int:
        """Remove every message, and count it as dropped for this reason; returns how many there were."""
        with self._changed:
            n = len(self._messages)
            self._remove(n)
            self._dropped.update({reason: n} if n else {})
            return n

    def counts(self) -> OutboxCounts:
        """Count what became of all messages, at one moment."""
        with self._changed:
            oldest_s = self._now() - self._messages[0][0] if self._messages else 0.0
            return OutboxCounts(
                self._captured, self._published, dict(self._dropped), len(self._messages), self._bytes, oldest_s
            )

    def _remove(self, n: int) -> None:
        for _ in range(n):
            _, message = self._messages.popleft()
            self._bytes -= len(message.key) + len(message.value) + OVERHEAD_BYTES
