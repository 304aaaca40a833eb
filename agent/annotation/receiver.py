"""The HTTP server for webhooks, on aiohttp. Each is answered at once; publishing happens behind a queue.

At most `AT_ONCE` webhooks are read at the same time, so the memory for their bodies is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from driftgauge.agent.annotation.hooks import MAX_BYTES, Hook
from driftgauge.agent.gateway.door import Answer, refusal
from driftgauge.agent.gateway.failures import server_log
from driftgauge.agent.outlets.http import cannot_listen

log = logging.getLogger(__name__)

AT_ONCE = 16
READ_S = 10.0
"""Seconds that the body of a webhook may take."""

CLOSE_S = 5.0
TICK_S = 0.25


async def serve(
    hooks: Sequence[Hook],
    host: str,
    port: int,
    stopping: threading.Event,
    started: Callable[[int], object] = lambda _: None,
) -> None:
    """Answer webhooks until ``stopping`` is set.

    Parameters
    ----------
    started : called with the port, which is another one where ``port`` is 0

    Raises
    ------
    ConnectorError
        When the address is taken or does not exist.
    """
    receiver = _Receiver(hooks)
    server = web.Server(receiver.handle, access_log=None, logger=server_log())
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen(host, port, error) from None
    bound = runner.addresses[0][1]
    log.info("webhooks are taken on %s:%s, paths %s", host, bound, ", ".join(hook.path for hook in hooks))
    started(bound)
    while not stopping.is_set():
        await asyncio.sleep(TICK_S)
    await runner.cleanup()


class _Receiver:
    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = {hook.path: hook for hook in hooks}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        answer = await self._answer(request)
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    async def _answer(self, request: web.BaseRequest) -> Answer:
        hook = self._hooks.get(request.path)
        if hook is None:
            return refusal(404, "not_found", f"webhooks are posted to {', '.join(self._hooks)}")
        if request.method != "POST":
            return refusal(405, "method", "webhooks are posted")
        async with self._turn:
            try:
                body = await asyncio.wait_for(_body(request), READ_S)
            except TimeoutError:
                return refusal(408, "too_slow", f"the body took more than {READ_S:.0f} seconds")
            headers = {name.lower(): value for name, value in request.headers.items()}
            return hook.answer(headers, body, time.time())


async def _body(request: web.BaseRequest) -> bytes:
    """The body, or somewhat more of it than is allowed."""
    body = bytearray()
    async for part in request.content.iter_chunked(2**16):
        body += part
        if len(body) > MAX_BYTES:
            break
    return bytes(body)
