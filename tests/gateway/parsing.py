"""A parser of answers that fails as its task says; the parsing process imports it."""

from __future__ import annotations

import os

from driftgauge.agent.gateway.wire.collect import Collected, Event

SECRET = "planted answer"


def parse(task: bytes) -> Collected:
    """Two events of a task; ``die`` ends the process, ``fail`` raises an error that quotes the answer."""
    if task == b"die":
        os._exit(3)
    if task == b"fail":
        raise ValueError(SECRET)
    if task == b"niceness":
        return Collected((Event(b"niceness", b"%d" % os.nice(0)),))
    if task == b"empty":
        return Collected(dropped={"no_logprobs": 2})
    return Collected((Event(b"1", task), Event(b"2", task)))
