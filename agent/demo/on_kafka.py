"""The demo over a real Apache Kafka: the same traffic as in `agent/demo/embedded.py`, in three processes.

A producer publishes the recorded traffic, the agent reads it, and a consumer prints the estimates that the agent
publishes. This module owns the broker, the broker's folder and the three processes, and ends all of them in every case.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console

from driftgauge.agent.demo.embedded import PLAN, bundled, conclude, make_room, settings_in
from driftgauge.agent.outlets.account import FinalAccount
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import open_files, print_text
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.local_broker import KafkaBroker
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.connectors.store.dead_letters import find_dead_letters
from driftgauge.connectors.store.queries import open_queries
from driftgauge.models.account import Account

POLL_S = 0.5


class Process:
    """A driftgauge command as a process. Its standard error goes to a file in the folder."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "driftgauge.agent.cli", name, *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the command is driftgauge itself
                command,
                env=os.environ,
                stderr=log,
                start_new_session=True,  # Ctrl-C on the terminal reaches only the demo, which then stops its processes
            )

    def check(self) -> None:
        """Raise `ConnectorError` with the last lines of the log when the process has ended.

        Only the producer may end without an error.
        """
        code = self.process.poll()
        if code or (code == 0 and self.name != "produce"):
            last = self.log.read_text(errors="replace").strip().splitlines()[-3:]
            raise ConnectorError(f"driftgauge {self.name} failed: {' | '.join(last)}", retriable=False)

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


def run_on_kafka(folder: Path, console: Console, *, seed: int = 0) -> None:
    """Start a broker and the three processes, wait until every event is in the store, and print the summary."""
    make_room(folder)
    replayed = open_files(bundled(), PLAN, seed)
    with Interrupts() as interrupts, ExitStack() as stack:

        def start(name: str, *arguments: str) -> Process:
            with interrupts.held():
                process = Process(folder, name, "--config", str(config), *arguments)
                stack.callback(process.stop)
                return process

        print_text(console, "Starting Apache Kafka (it is downloaded the first time) …")
        broker = KafkaBroker(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftgauge-kafka-"))))
        stack.callback(broker.stop)
        with interrupts.held():
            broker.launch()
        broker.wait_until_ready()
        print_text(console, f"Apache Kafka is ready at {broker.address}. A producer, the agent and a consumer start.")
        settings = settings_in(folder, **{"kafka.bootstrap_servers": broker.address, "server.enabled": False})
        create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
        config = folder / "driftgauge.yaml"
        config.write_text(_as_yaml(settings))
        watcher = start("watch")
        agent = start("run")
        producer = start("produce", *map(str, bundled()), "--seed", str(seed))
        _wait_until_stored(settings, replayed.n_records or 0, [producer, agent, watcher])
        agent.stop()  # the agent publishes pending estimates before it ends; then the consumer prints them
        watcher.stop()
    conclude(folder, replayed, settings, console, stored_account(settings))


def _wait_until_stored(settings: Settings, n_events: int, processes: Sequence[Process]) -> None:
    """Return when the store holds every response and every label."""
    while _n_stored(settings) < n_events:
        for process in processes:
            process.check()
        time.sleep(POLL_S)


def _n_stored(settings: Settings) -> int:
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
    reasons = Counter(letter.rejected.reason for letter in find_dead_letters(url))
    account.account(Account(used=_n_stored(settings), dead_letters=reasons))
    return account


def _as_yaml(settings: Settings) -> str:
    """The settings that differ from the defaults, as a file for the three processes (JSON is YAML)."""
    windows = settings.windows.model_dump(include={"window_s", "window_events", "hop_s"})
    return json.dumps(
        {
            "kafka": {"bootstrap_servers": list(settings.kafka.bootstrap_servers)},
            "windows": windows,
            "store": {"url": settings.store.url.get_secret_value()},
            "report": {"folder": str(settings.report.folder)},
            "server": {"enabled": False},
            "logging": {"level": "warning"},
        },
        indent=2,
    )
