"""The processes of a demo: started so that none of them outlives it, and what the agent among them has stored.

They share a process group with a guard, which ends the whole group when the demo is gone, also after a SIGKILL.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console

from driftgauge.agent.outlets.account import FinalAccount
from driftgauge.agent.service.replay import print_text
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.local_broker import KafkaBroker
from driftgauge.connectors.store.dead_letters import find_dead_letters
from driftgauge.connectors.store.queries import open_queries
from driftgauge.models.account import Account

POLL_S = 0.5
DRIFTGAUGE = "driftgauge.agent.cli"
_GUARD = "import os, signal, sys; sys.stdin.read(); os.killpg(0, signal.SIGKILL)"


class Process:
    """A Python module as a process. Its standard error goes to a file in the folder.

    Parameters
    ----------
    group : process group to join; 0: a new one
    """

    def __init__(self, folder: Path, name: str, module: str, *arguments: str, group: int = 0) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a module of driftgauge
                [sys.executable, "-m", module, *arguments],
                env=os.environ,
                stderr=log,
                process_group=group,  # Ctrl-C on the terminal reaches only the demo, which then stops its processes
            )

    def check(self) -> None:
        """Raise `ConnectorError` with the last lines of the log when the process has ended.

        Only the producer may end without an error.
        """
        code = self.process.poll()
        if code or (code == 0 and self.name != "produce"):
            last = self.log.read_text(errors="replace").strip().splitlines()[-3:]
            raise ConnectorError(f"{self.name} failed: {' | '.join(last)}", retriable=False)

    def stop(self) -> None:
        """Ask the process to end, and wait until it has."""
        self.process.terminate()
        self.process.wait()


class Interrupts:
    """Turns signals that end the process into `SystemExit`, so that ``finally`` blocks run; never inside `held`.

    A child process is started and registered to be stopped inside `held`, because a signal between the two would leave
    the child behind.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._is_held = False
        self._received: int | None = None

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._receive) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay signals until the end of the block."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._received is not None:
            sys.exit(128 + self._received)

    def _receive(self, number: int, _: object) -> None:
        self._received = number
        if not self._is_held:
            sys.exit(128 + number)


@contextmanager
def processes(folder: Path) -> Iterator[Starter]:
    """Ends every process that was started, and the broker, at the end of the block, also after a signal."""
    with Interrupts() as interrupts, _guard() as group, ExitStack() as stack:
        yield Starter(folder, interrupts, stack, group)


@contextmanager
def _guard() -> Iterator[int]:
    """The process group of a guard that ends all processes of the group when this process closes a pipe, or ends."""
    command = [sys.executable, "-S", "-c", _GUARD]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603 - our own command
    with guard:  # closes the pipe
        yield guard.pid


class Starter:
    """Starts the broker and the processes of a demo; made by `processes`."""

    def __init__(self, folder: Path, interrupts: Interrupts, stack: ExitStack, group: int) -> None:
        self._folder, self._interrupts, self._stack, self._group = folder, interrupts, stack, group
        self.started: list[Process] = []

    def process(self, name: str, module: str, *arguments: str) -> Process:
        """Start a module as a process."""
        with self._interrupts.held():
            process = Process(self._folder, name, module, *arguments, group=self._group)
            self._stack.callback(process.stop)
        self.started.append(process)
        return process

    def command(self, name: str, *arguments: str) -> Process:
        """Start a driftgauge command as a process."""
        return self.process(name, DRIFTGAUGE, name, *arguments)

    def broker(self, console: Console) -> KafkaBroker:
        """Start Apache Kafka, and return when it is ready."""
        print_text(console, "Starting Apache Kafka (it is downloaded the first time) …")
        place = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="driftgauge-kafka-"))
        broker = KafkaBroker(Path(place), process_group=self._group)
        self._stack.callback(broker.stop)
        with self._interrupts.held():
            broker.launch()
        broker.wait_until_ready()
        return broker

    def check(self) -> None:
        """Raise `ConnectorError` when a process has failed."""
        for process in self.started:
            process.check()


def wait_until_stored(settings: Settings, n_events: int, starter: Starter) -> None:
    """Return when the store holds every response and every label."""
    while n_stored(settings) < n_events:
        starter.check()
        time.sleep(POLL_S)


def n_stored(settings: Settings) -> int:
    """The number of responses and labels in the store; 0 before the agent has created the store."""
    try:
        with closing(open_queries(settings.store.url.get_secret_value())) as queries:
            counts = queries.counts(-math.inf, math.inf).values()
    except ConnectorError:
        return 0
    return sum(count.n_events + count.n_labels for count in counts)


def stored_account(settings: Settings) -> FinalAccount:
    """The account of the agent, which ran in another process, from its store."""
    url, account = settings.store.url.get_secret_value(), FinalAccount()
    reasons: Counter[str] = Counter(letter.rejected.reason for letter in find_dead_letters(url))
    account.account(Account(used=n_stored(settings), dead_letters=reasons))
    return account
