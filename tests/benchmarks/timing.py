"""How long something takes."""

import time
from collections.abc import Callable


def seconds(*works: Callable[[], object], repeats: int = 5) -> list[float]:
    """Processor seconds of the shortest of several runs of each: what the machine can do when nothing else runs on it.

    They take turns, so that a slow spell of the machine is one for all that is compared.
    """
    rounds = [[_once(work) for work in works] for _ in range(repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _once(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
