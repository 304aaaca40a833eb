"""A parser of answers that fails as its task says; the parsing process imports it."""

from __future__ import annotations

import os

SECRET = "planted answer"


def parse(task: bytes) -> list[tuple[bytes, bytes]]:
    """Two events of a task; ``die`` ends the process, ``fail`` raises an error that quotes the answer."""
    if task == b"die":
        os._exit(3)
    if task == b"fail":
        raise ValueError(SECRET)
    if task == b"niceness":
        return [(b"niceness", b"%d" % os.nice(0))]
    return [(b"1", task), (b"2", task)]
