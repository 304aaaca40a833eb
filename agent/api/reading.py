"""Answers from a store, made once for all who ask: kept until the store changes or is away, at most `MAX_ANSWERS`.

Owns the look at the store every `LOOK_S` seconds. An answer is therefore at most that old, and 50 dashboards cost the
queries of one. Queries run in `THREADS` threads, on read-only connections.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, closing, suppress
from typing import NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread

from driftgauge.agent.api.problem import Problem
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.changes import StoreChanges
from driftgauge.connectors.store.queries import StoreQueries, open_queries

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 1.0
MAX_ANSWERS = 256
THREADS = 4
ZIPPED_FROM_BYTES = 1_400
"""Answers of less fit into one packet anyway."""


class Answer(NamedTuple):
    """The body of an answer, compressed too where that saves something, and the tag of its content."""

    body: bytes
    zipped: bytes
    etag: str


def answer_of(body: bytes) -> Answer:
    """The answer with this body."""
    zipped = gzip.compress(body, compresslevel=5, mtime=0) if len(body) >= ZIPPED_FROM_BYTES else b""
    return Answer(body, zipped, hashlib.blake2b(body, digest_size=12).hexdigest())


class StoreReader:
    """Reads one store for all requests.

    Attributes
    ----------
    version : grows with each change that was seen
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._changes = StoreChanges(url)
        self._answers: dict[Hashable, asyncio.Task[Answer]] = {}
        self._news = asyncio.Event()
        self._threads: CapacityLimiter | None = None
        self.version = 0
        self.is_closed = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look for changes of the store while the context is open."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._changes.close()

    async def answer(self, key: Hashable, make: Callable[[StoreQueries], bytes]) -> Answer:
        """The answer with this key; made if the store changed since it was made.

        Raises
        ------
        Problem
            503 while the store cannot be read.
        """
        task = self._answers.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            task = self._answers[key] = asyncio.create_task(self._made(make))
        return await asyncio.shield(task)

    async def changed_after(self, version: int, timeout_s: float) -> bool:
        """Wait for a higher version; False where none comes in time, or the reader is closed."""
        if self.version <= version and not self.is_closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_s)
        return self.version > version and not self.is_closed

    def close(self) -> None:
        """End all waiting; called in the event loop."""
        self.is_closed = True
        self._tell()

    async def _made(self, make: Callable[[StoreQueries], bytes]) -> Answer:
        self._threads = self._threads or CapacityLimiter(THREADS)
        return await to_thread.run_sync(self._encoded, make, limiter=self._threads)

    def read(self, make: Callable[[StoreQueries], T]) -> T:
        """What ``make`` reads; blocks, and raises `Problem` while the store cannot be read."""
        try:
            with closing(open_queries(self._url)) as queries:
                return make(queries)
        except ConnectorError as error:
            raise Problem(503, str(error), headers={"retry-after": "2"}) from error

    def _encoded(self, make: Callable[[StoreQueries], bytes]) -> Answer:
        return answer_of(self.read(make))

    async def _watch(self) -> None:
        while True:
            try:
                if await to_thread.run_sync(self._changes.look):
                    self.version += 1
                    self._answers.clear()
                    self._tell()
            except (ConnectorError, OSError) as error:
                log.debug("no look at the store: %s", error)
                self._answers.clear()  # they may be wrong by now, and no change would be seen
            await asyncio.sleep(LOOK_S)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
