"""Commits the offsets of a consumer group, which only lag displays use. The agent never reads them.

Owns a separate client, so that reading continues while the group coordinator is unavailable. Bounded: one pending
offset per partition.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from driftgauge.connectors.base import Positions
from driftgauge.connectors.kafka.client import CLOSE_TIMEOUT_S, PERMANENT_ERRORS, new_client
from driftgauge.connectors.kafka.connection import KafkaConnection

log = logging.getLogger(__name__)

COMMIT_EVERY_S, COMMIT_TIMEOUT_S = 1.0, 0.1


class GroupOffsets:
    """Commits at most once a second and never waits long; a commit that failed is tried again."""

    def __init__(self, connection: KafkaConnection, group_id: str) -> None:
        self._make = partial(new_client, KafkaConsumer, connection, group_id=group_id, enable_auto_commit=False)
        self._client: KafkaConsumer | None = None
        self._api_version: tuple[int, ...] | None = None
        self._pending: dict[TopicPartition, OffsetAndMetadata] = {}
        self._not_before = 0.0
        self._has_warned = False

    def start(self, api_version: tuple[int, ...]) -> None:
        """Allow commits. With the broker's version the client need not ask a broker for it, and starts at once."""
        self._api_version = api_version

    def commit(self, positions: Positions) -> None:
        """Commit these positions now, or with the next `commit_pending` when the last commit is too recent."""
        self._pending |= {TopicPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in positions.items()}
        self.commit_pending()

    def commit_pending(self) -> None:
        """Commit pending positions, unless the last commit is too recent."""
        now = time.monotonic()
        if self._api_version is not None and self._pending and now >= self._not_before:
            self._not_before = now + COMMIT_EVERY_S
            self._client = self._client or self._make(api_version=self._api_version)
            self._try_commit(self._client, COMMIT_TIMEOUT_S)

    def close(self) -> None:
        """Commit pending positions if that takes no longer than a second, and release the client."""
        client, self._client, self._api_version = self._client, None, None
        if client is not None:
            if self._pending:
                self._try_commit(client, COMMIT_EVERY_S)
            with suppress(KafkaError, OSError):
                client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))

    def _try_commit(self, client: KafkaConsumer, timeout_s: float) -> None:
        try:
            client.commit(self._pending, timeout_ms=int(timeout_s * 1000))
            self._pending = {}
        except (KafkaError, OSError) as error:  # a TLS connection that breaks raises an OSError
            if isinstance(error, PERMANENT_ERRORS) and not self._has_warned:
                log.warning("cannot commit group offsets, so lag displays do not move: %s", error)
                self._has_warned = True
