"""The process that answers HTTP for a running agent (`driftgauge.agent.service.web_process` starts it).

It ends when the agent says so, or is gone.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections import deque
from contextlib import closing, suppress
from multiprocessing.connection import Connection

from driftgauge.agent.api.build import open_server
from driftgauge.agent.outlets.http import Response
from driftgauge.agent.service.logs import start_logging
from driftgauge.config.settings import Settings


def main() -> None:
    """Serve with the connection to the agent and the listening socket of these file descriptors."""
    connection, listener = Connection(int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2]))
    with connection, suppress(EOFError):
        settings: Settings = connection.recv()
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        agent = RunningAgent(connection)
        with closing(open_server(settings, listener, agent.ask)):
            agent.wait()


class RunningAgent:
    """The agent's answers to what only it knows: one question after another, from any task of the event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asking: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[Response]]] = deque()
        self._thread = threading.Thread(target=self._listen, name="agent", daemon=True)
        self._thread.start()

    async def ask(self, page: str, **arguments: object) -> Response:
        """The agent's own answer; raises `OSError` when the agent is gone."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        self._asking.append((loop, answer))
        self._connection.send((page, arguments))
        return await answer

    def wait(self) -> None:
        """Return when the agent wants this process to end, or is gone."""
        self._thread.join()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while (answer := self._connection.recv()) is not None:
                loop, waiting = self._asking.popleft()
                loop.call_soon_threadsafe(_give, waiting, answer)
        for loop, waiting in self._asking:
            loop.call_soon_threadsafe(_give, waiting, None)


def _give(waiting: asyncio.Future[Response], answer: Response | None) -> None:
    if waiting.done():  # a client that is gone waits no more
        return
    if answer is None:
        waiting.set_exception(ConnectionError("the agent has ended"))
    else:
        waiting.set_result(answer)
