"""How the process is stopped: SIGTERM and Ctrl-C set an event.

The module imports nothing heavy, so that a command can install the handlers before its slow imports: a stop that comes
during them ends the process with exit code 0 as well.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set, instead of ending the process at once; main thread only.

    Examples
    --------
    >>> with stopped_by_signals() as stopping:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stopping.is_set()
    True
    """
    stopping = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
