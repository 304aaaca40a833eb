"""Server-sent events: each says that the store changed. What changed is asked for with the other operations.

A client that comes back needs nothing from before, because the first event of each stream carries the newest version.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from driftgauge.agent.api.reading import StoreReader

PING_S = 15.0
RETRY_MS = 2_000


async def changes(reader: StoreReader) -> AsyncIterator[bytes]:
    """The text of a stream, until the reader is closed; comments keep proxies from ending a quiet one."""
    yield b"retry: %d\n\n" % RETRY_MS
    seen = -1
    while not reader.is_closed:
        if await reader.changed_after(seen, PING_S):
            seen = reader.version
            yield b'id: %d\nevent: changed\ndata: {"version":%d}\n\n' % (seen, seen)
        elif not reader.is_closed:
            yield b": ping\n\n"
