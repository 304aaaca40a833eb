"""python -m tests.same: one log of N responses (200,000) from SEED (0) through every way of reading it, as one table.

PARTITIONS (4) is the number of partitions of each topic, ROUNDS (4) how often each failure happens to the extractors.
"""

from __future__ import annotations

import os
import sys
import time

from rich.console import Console

from tests.brokers import broker_address
from tests.same.side_by_side import problems, side_by_side, table


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


if __name__ == "__main__":
    console, began = Console(width=120), time.monotonic()

    def report(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}", highlight=False)

    with broker_address() as address:
        runs = side_by_side(
            address, _number("SEED", 0), _number("N", 200_000), _number("PARTITIONS", 4), _number("ROUNDS", 4), report
        )
    report("done")
    console.print(table(runs))
    wrong = problems(runs)
    for line in wrong:
        console.print(line)
    sys.exit(1 if wrong else 0)
