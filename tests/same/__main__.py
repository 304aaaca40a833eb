"""python -m tests.same: one log of N responses (200,000) from SEED (0) through every way of reading it, as one table.

PARTITIONS (4) is the number of partitions of each topic, ROUNDS (4) how often each failure happens to the extractors.
Spark is one of the ways where the extra ``spark`` and a Java for it are installed (`make test-spark`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

from rich.console import Console

from tests.brokers import broker_address
from tests.same.failures import extract
from tests.same.side_by_side import Way, problems, raw, side_by_side, table
from tests.spark.java import java_home
from tests.spark.local import local_spark
from tests.spark.way import through_spark


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _ways(seed: int, rounds: int) -> Mapping[str, Way]:
    known: dict[str, Way] = {"agent alone": raw, "extractors + agent": partial(extract, seed=seed, rounds=rounds)}
    if find_spec("pyspark") and (home := java_home()):
        known["Spark + agent"] = partial(through_spark, spark=local_spark(home))
    return known


if __name__ == "__main__":
    console, began = Console(width=120), time.monotonic()

    def report(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}", highlight=False)

    with broker_address() as address:
        seed = _number("SEED", 0)
        ways = _ways(seed, _number("ROUNDS", 4))
        runs = side_by_side(address, seed, _number("N", 200_000), _number("PARTITIONS", 4), ways, report)
    report("done")
    console.print(table(runs))
    wrong = problems(runs)
    for line in wrong:
        console.print(line)
    sys.exit(1 if wrong else 0)
