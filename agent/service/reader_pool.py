"""Readers side by side: a source whose records come decoded, with features, from processes of its own.

Owns the processes: started by `Readers.open`, gone after `Readers.close`, and each ends by itself when the agent is
killed. Which reader comes next is chance; within one partition the order is that of the topic.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait

from driftgauge.agent.service.reader_process import Reading, ReadRecord, Task, Trouble
from driftgauge.connectors.base import ConnectorError, Positions, Record, TopicPartition
from driftgauge.models.events import Event

COMMAND = (sys.executable, "-P", "-c", "from driftgauge.agent.service.reader_process import main; main()")
CLOSE_WITHIN_S = 10.0
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 27)}
"""For glibc: fetches of megabytes come and go, and to get their memory from the system anew each time takes longer than
to read them."""


class _Process:
    """One reader and our end of the talk with it."""

    def __init__(self, task: Task, positions: Positions) -> None:
        self.connection, theirs = Pipe()
        self.lag: Mapping[TopicPartition, int] = {}
        with theirs:
            number = theirs.fileno()
            # a session of its own: Ctrl-C is for the agent, which ends its readers when its batch is done
            command = (*COMMAND, str(number))
            self._process = subprocess.Popen(  # noqa: S603 - our own
                command, pass_fds=[number], start_new_session=True, env={**KEEP_MEMORY, **os.environ}
            )
        self.tell(task)
        self.tell(dict(positions))

    def tell(self, message: Task | dict[TopicPartition, int]) -> None:
        """Send, unless nobody is there any more: that comes out when we listen."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def listen(self) -> Sequence[ReadRecord]:
        """What it has read next; its trouble is ours."""
        try:
            said: Reading | Trouble = self.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.end()
            raise ConnectorError(f"a reader process ended by itself (exit code {code})", retriable=True) from None
        if isinstance(said, Trouble):
            raise ConnectorError(said.text, retriable=said.retriable)
        self.lag = said.lag
        return said.records

    def leave(self) -> None:
        """Let it know that nobody listens."""
        self.connection.close()

    def end(self) -> int:
        """Wait until it is gone; its exit code."""
        try:
            return self._process.wait(CLOSE_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Readers:
    """Implements `driftgauge.connectors.base.Source`; `Decoded` gives the events of its records."""

    is_exhausted = False

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._processes: deque[_Process] = deque()

    def open(self, positions: Positions) -> None:
        """Start a reader for every task, and return once all of them read."""
        self.close()
        for task in self._tasks:
            self._processes.append(_Process(task, positions))
        for process in self._processes:
            process.listen()

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """What one of them has read; those that have something take turns."""
        ready = wait([process.connection for process in self._processes], timeout_s)
        for _ in range(len(self._processes)):
            self._processes.rotate(-1)
            if self._processes[-1].connection in ready:
                return self._processes[-1].listen()
        return ()

    def commit(self, positions: Positions) -> None:
        """Let the reader that spoke last show how far we are."""
        self._processes[-1].tell(dict(positions))

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records that nobody has read yet, as each reader saw it last."""
        return {partition: n for process in self._processes for partition, n in process.lag.items()}

    def close(self) -> None:
        """End all readers."""
        for process in self._processes:
            process.leave()
        for process in self._processes:
            process.end()
        self._processes.clear()


class Decoded:
    """Takes the place of a decoder where records come from `Readers`."""

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """Events of all records, in order."""
        return [event for record in records if isinstance(record, ReadRecord) for event in record.events]
