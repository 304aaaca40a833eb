"""A pool of readers: a source whose records are fetched and decoded by other processes.

Owns the processes: `ReaderPool.open` starts them, `ReaderPool.close` ends them, and each ends by itself when the agent
is killed. The order of records is that of the topic within a partition, and not defined between partitions.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import wait

from driftgauge.agent.service.reader_process import DecodedBatch, ReaderFailure, ReaderTask
from driftgauge.connectors.base import ConnectorError, Positions, Record, TopicPartition
from driftgauge.connectors.decoding.formats.extracted import Head
from driftgauge.connectors.extract import DecodedRecord
from driftgauge.connectors.publishing.kinds import with_bytes
from driftgauge.models.events import Arrival, Event, Generation, Label, Rejected

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-c", "from driftgauge.agent.service.reader_process import main; main()")
EXIT_TIMEOUT_S = 10.0
MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 27)}
"""For glibc: keep freed memory in the process. Each fetch needs megabytes, and to request them from the system again
each time takes longer than to read the records."""


class _ReaderProcess:
    """One reader process, and the agent's end of the connection to it."""

    def __init__(self, task: ReaderTask, positions: Positions) -> None:
        self.connection, reader_end = Pipe()
        self.lag: Mapping[TopicPartition, int] = {}
        with reader_end:
            descriptor = reader_end.fileno()
            # in a new session: Ctrl-C reaches only the agent, which ends its readers after its batch
            command = (*COMMAND, str(descriptor))
            self._process = subprocess.Popen(  # noqa: S603 - the command is a constant
                command, pass_fds=[descriptor], start_new_session=True, env={**MALLOC_SETTINGS, **os.environ}
            )
        self.send(task)
        self.send(dict(positions))

    def send(self, message: ReaderTask | dict[TopicPartition, int]) -> None:
        """Send a message; when the process has ended, nothing happens and the next `receive` raises an error."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def receive(self) -> Sequence[DecodedRecord]:
        """Return the next records; raise the error that the reader ended with."""
        try:
            message: DecodedBatch | ReaderFailure = self.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.wait_for_exit()
            raise ConnectorError(f"a reader process ended by itself (exit code {code})", retriable=True) from None
        if isinstance(message, ReaderFailure):
            raise ConnectorError(message.text, retriable=message.retriable)
        self.lag = message.lag
        return message.records

    def disconnect(self) -> None:
        """Close the connection, upon which the process ends."""
        self.connection.close()

    def wait_for_exit(self) -> int:
        """Wait until the process has ended, kill it if that takes too long, and return its exit code."""
        try:
            return self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class ReaderPool:
    """Implements `driftgauge.connectors.base.Source` with one process per task.

    Its records carry their events, which `PoolDecoder` takes out.
    """

    is_exhausted = False

    def __init__(self, tasks: Sequence[ReaderTask]) -> None:
        self._tasks = tasks
        self._processes: deque[_ReaderProcess] = deque()

    def open(self, positions: Positions) -> None:
        """Start a reader for every task, and return once the source of each is open."""
        self.close()
        for task in self._tasks:
            self._processes.append(_ReaderProcess(task, positions))
        for process in self._processes:
            process.receive()

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Return one batch of one reader; readers that have a batch take turns."""
        ready = wait([process.connection for process in self._processes], timeout_s)
        for _ in range(len(self._processes)):
            self._processes.rotate(-1)
            if self._processes[-1].connection in ready:
                return self._processes[-1].receive()
        return ()

    def commit(self, positions: Positions) -> None:
        """Pass the positions to the reader that was polled last, which shows them as group offsets."""
        self._processes[-1].send(dict(positions))

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records that no reader has polled, as of each reader's last batch."""
        return {partition: n for process in self._processes for partition, n in process.lag.items()}

    def close(self) -> None:
        """End all readers; safe to call twice."""
        for process in self._processes:
            process.disconnect()
        for process in self._processes:
            process.wait_for_exit()
        self._processes.clear()


def dead_letter_of(record: Record, letter: Rejected) -> Rejected:
    """The letter of a record; where its bytes stayed in a reader, it holds its event, if that can be encoded."""
    if not isinstance(record, DecodedRecord) or len(record.events) != 1:
        return letter
    (event,) = record.events
    if isinstance(event, Arrival):
        event = event.generation
    if not isinstance(event, Generation | Label):
        return letter
    try:
        return with_bytes(replace(letter, event=event))
    except Exception:
        log.warning("the event of the dead letter cannot be encoded", exc_info=True)
        return letter


class PoolDecoder:
    """The decoder for records of a `ReaderPool`: they are decoded already, so it only collects their events."""

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """Return the events of all records, in order."""
        return self.decode_counted(records)[0]

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """Return the events of all records, in order, and the number of events of each record."""
        per_record = [record.events if isinstance(record, DecodedRecord) else () for record in records]
        return [event for events in per_record for event in events], [len(events) for events in per_record]

    def head_of(self, record: Record) -> Head | None:
        """The raw record that ``driftgauge extract`` made this one of; None where it did not."""
        return record.head if isinstance(record, DecodedRecord) else None
