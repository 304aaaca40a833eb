"""The number of the last alert that each sink is done with, in a small file that survives a crash.

One process at a time uses the file. A number is saved after the receiver took the alert: a crash in between leads to a
repeat, never to a loss.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from driftgauge.connectors.files.journal import Journal


class Cursor(msgspec.Struct, frozen=True):
    """A sink is done with the alerts up to this number."""

    sink: str
    number: int


class Cursors:
    """The cursors of a file, for any number of threads.

    Raises
    ------
    ConnectorError
        When the file cannot be used, another process uses it, or something else is in it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Cursors(Path(folder, "cursors")) as cursors:
    ...         cursors.start("slack", 7), cursors.save("slack", 8)
    ...     with Cursors(Path(folder, "cursors")) as cursors:
    ...         cursors.start("slack", 99)
    (7, None)
    8
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, Cursor)
        self._lock = threading.Lock()
        self._numbers = {line.sink: line.number for line in self._journal.read()}

    def start(self, sink: str, number: int) -> int:
        """The cursor of a sink; a sink that has none gets this one."""
        if sink not in self._numbers:
            self.save(sink, number)
        return self._numbers[sink]

    def save(self, sink: str, number: int) -> None:
        """Remember a cursor. It survives the end of the process; after a power cut the one before may be back."""
        with self._lock:
            self._numbers[sink] = number
            self._journal.replace(Cursor(name, n) for name, n in self._numbers.items())

    def close(self) -> None:
        """Let other processes use the file; safe to call twice."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
