"""Whole bodies are parsed in one process of low priority, so that no stream waits for them.

`BodyParser` is the gateway's end: a queue bounded in bytes, and a thread that sends one task after the other and takes
the events. `main` is the process. A process that ends by itself is replaced; its task is counted as failed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeAlias

import msgspec

from driftgauge.agent.gateway.wire.collect import Collected

log = logging.getLogger(__name__)

Parse: TypeAlias = Callable[[bytes], Collected]

COMMAND = (sys.executable, "-P", "-c", "from driftgauge.agent.gateway.body_parser import main; main()")
NICENESS = 10
RESTART_PAUSE_S = 1.0
EXIT_TIMEOUT_S = 5.0

_ANSWER: msgspec.msgpack.Decoder[Collected | str] = msgspec.msgpack.Decoder(Collected | str)


class BodyParser:
    """A separate process that parses tasks in order.

    Each task is parsed, failed, dropped or waiting, and `counts` says how many are.

    Parameters
    ----------
    parse : function at the top of a module; the process imports it by its name
    deliver : takes the key and the value of each event, in the thread of the parser
    max_bytes : bytes of waiting tasks from which on new tasks are dropped, whatever their size
    """

    def __init__(self, parse: Parse, deliver: Callable[[bytes, bytes], object], *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.parse_name = f"{parse.__module__}:{parse.__qualname__}"
        self._deliver = deliver
        self._tasks: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._is_closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, name="body-parser", daemon=True)

    def start(self) -> None:
        """Start the thread, and with it the process."""
        self._thread.start()

    def put(self, task: bytes) -> bool:
        """Queue a task; False when it was dropped because the queue is full. Neither waits nor raises an error."""
        with self._changed:
            self._counts["put"] += 1
            if self._bytes >= self.max_bytes or self._is_closing:
                self._counts["dropped"] += 1
                return False
            self._tasks.append(task)
            self._bytes += len(task)
            self._changed.notify()
            return True

    def counts(self) -> dict[str, int]:
        """Tasks ``put`` = ``parsed`` + ``failed`` + ``dropped`` + ``waiting``; and ``waiting_bytes``, ``restarts``."""
        with self._changed:
            names = ("put", "parsed", "failed", "dropped", "restarts")
            waiting = {"waiting": len(self._tasks), "waiting_bytes": self._bytes}
            return {**{name: self._counts[name] for name in names}, **waiting}

    def lost(self) -> dict[str, int]:
        """Choices of parsed answers that gave no event, and tasks that failed or were dropped, by reason."""
        with self._changed:
            tasks = {"parser_failed": self._counts["failed"], "parser_full": self._counts["dropped"]}
            return {**self._lost, **{reason: n for reason, n in tasks.items() if n}}

    def close(self, timeout_s: float) -> None:
        """Parse what waits, for ``timeout_s`` at most; the rest is dropped. Ends the process."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._pause.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._changed:
            self._counts["dropped"] += len(self._tasks)
            self._tasks.clear()
            self._bytes = 0
            self._changed.notify()
        self._end_process()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            outcome = "failed"
            try:
                if (collected := self._parsed(task)) is not None:
                    outcome = "parsed"
                    self._take(collected)
            except (OSError, EOFError, msgspec.DecodeError):
                self._replace_process()
            except Exception:
                log.exception("an answer could not be parsed")
            self._done(outcome)

    def _next(self) -> bytes | None:
        """The first task, which stays in the queue until it is parsed; None when the parser is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._is_closing)
            return self._tasks[0] if self._tasks else None

    def _take(self, collected: Collected) -> None:
        for key, value in collected.events:
            self._deliver(key, value)
        with self._changed:
            self._lost.update(collected.dropped)

    def _done(self, outcome: str) -> None:
        with self._changed:
            if self._tasks:  # `close` has dropped it otherwise
                self._bytes -= len(self._tasks.popleft())
                self._counts[outcome] += 1

    def _parsed(self, task: bytes) -> Collected | None:
        """What a task gives; None when it cannot be parsed. Raises an error when the process has ended."""
        if self._connection is None:
            self._connection = self._start_process()
        self._connection.send_bytes(task)
        answer = _ANSWER.decode(self._connection.recv_bytes())
        if isinstance(answer, str):
            log.warning("an answer could not be parsed: %s", answer)
            return None
        return answer

    def _start_process(self) -> Connection:
        ours, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            # in a new session: Ctrl-C reaches only the gateway, which lets the parser finish
            self._process = subprocess.Popen(  # noqa: S603 - the command is a constant
                (*COMMAND, self.parse_name, str(descriptor)), pass_fds=[descriptor], start_new_session=True
            )
        return ours

    def _replace_process(self) -> None:
        log.warning("the process that parses answers ended by itself; it is started again")
        self._end_process()
        self._counts["restarts"] += 1
        self._pause.wait(RESTART_PAUSE_S)

    def _end_process(self) -> None:
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()  # upon which the process ends
        if process is not None:
            try:
                process.wait(EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> None:
    """Parse tasks with the function that the first argument names, from the socket that the second one names."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the gateway ends this process by closing the socket
    os.nice(NICENESS)
    module, _, name = sys.argv[1].partition(":")
    parse: Parse = getattr(import_module(module), name)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(sys.argv[2])) as gateway:
        while True:
            gateway.send_bytes(_answer(parse, gateway.recv_bytes()))


def _answer(parse: Parse, task: bytes) -> bytes:
    try:
        return msgspec.msgpack.encode(parse(task))
    except Exception as error:  # a bug that one answer meets must not end the others; its text may quote the answer
        return msgspec.msgpack.encode(type(error).__name__)
