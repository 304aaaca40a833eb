"""The process that answers HTTP for the agent, and the thread that answers that process.

The process reads the store by itself, so that no question costs the loop its time: a thread beside the loop would take
the interpreter from it. It asks the agent only for health and metrics. It is started again when it ends by itself, and
ends with the agent. Owns the listening socket, which stays open in between: clients wait instead of being refused.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from driftgauge.agent.outlets.http import Response, answered, listen
from driftgauge.config.settings import Settings

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-c", "from driftgauge.agent.api.process import main; main()")
RESTART_S = 2.0
EXIT_TIMEOUT_S = 10.0


class WebProcess:
    """Serves the API until it is closed.

    Parameters
    ----------
    pages : what the agent itself answers, by the names that the process asks with; none may wait

    Attributes
    ----------
    port : the number of the port that it listens on

    Raises
    ------
    ConnectorError
        When the address cannot be listened on.
    """

    def __init__(self, settings: Settings, pages: Mapping[str, Callable[..., Response]]) -> None:
        self._settings, self._pages = settings, pages
        self._listener = listen(settings.server.host, settings.server.port)
        self.port = int(self._listener.getsockname()[1])
        self._closing = threading.Event()
        self._process, self._connection = self._started()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._closing.set()
        with suppress(OSError):
            self._connection.send(None)
        self._thread.join()
        self._listener.close()

    def _started(self) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = Pipe()
        with theirs:
            numbers = theirs.fileno(), self._listener.fileno()
            # in a new session: Ctrl-C reaches only the agent, which ends the process
            process = subprocess.Popen(  # noqa: S603 - the command is a constant
                (*COMMAND, *map(str, numbers)), pass_fds=numbers, start_new_session=True
            )
        with suppress(OSError):
            ours.send(self._settings)
        return process, ours

    def _serve(self) -> None:
        while True:
            with self._connection, suppress(EOFError, OSError):
                while True:
                    page, arguments = self._connection.recv()
                    self._connection.send(answered(self._pages[page], **arguments))
            code = self._ended()
            if self._closing.is_set():
                return
            log.warning("the process for HTTP ended by itself (exit code %d); it is started again", code)
            if self._closing.wait(RESTART_S):
                return
            self._process, self._connection = self._started()

    def _ended(self) -> int:
        """Wait until the process has ended, kill it if that takes too long, and return its exit code."""
        try:
            return self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
