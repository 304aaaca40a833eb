"""Waiting for something to become true, with an end."""

import time
from collections.abc import Callable


def until(is_true: Callable[[], object], timeout_s: float = 30.0, every_s: float = 0.02) -> None:
    """Ask again and again, up to a deadline."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(every_s)
