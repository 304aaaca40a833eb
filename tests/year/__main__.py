"""python -m tests.year [--days N] [--seed N] [--folder F]: prints the year's table; year.json has the figures.

A folder that holds the books of an earlier run goes on from there. `make year` lives the first half with the oldest
versions of all packages, and then upgrades them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.year.books import Books, Month
from tests.year.life import RETENTION_DAYS, SETTINGS, live

BOUNDS = {"contexts": SETTINGS["context.max_fingerprints"], "domains": SETTINGS["bounds.max_domains"] + 1}
"""The domain "(other)" stands beside the others."""


COLUMNS = (
    "to day",
    "responses",
    "labels",
    "contexts",
    "domains",
    "memory MiB",
    "store MiB",
    "longest step s",
    "alerts",
)


def table(months: list[Month]) -> Table:
    """One row for each month."""
    made = Table(
        "to day", "responses", "labels", "contexts", "domains", "memory MiB", "store MiB", "longest step s", "alerts"
    )
    for month in months:
        numbers = (month.last_day, month.responses, month.labels, month.contexts, month.domains)
        sizes = (f"{month.memory_mib:.0f}", f"{month.store_mib:.1f}", f"{month.longest_step_s:.2f}")
        alerts = ", ".join(f"{n} {kind}" for kind, n in month.alerts.items())
        made.add_row(*(f"{number:,}" for number in numbers), *sizes, alerts)
    return made


def main(folder: Path, days: int, seed: int, per_hour: float) -> int:
    console, saved = Console(width=150), folder / "books.json"
    books = msgspec.json.decode(saved.read_bytes(), type=Books) if saved.exists() else Books()
    began = time.monotonic()

    def report(month: Month) -> None:
        console.print(
            f"{time.monotonic() - began:6.0f} s  day {month.last_day}: {month.responses:,} responses", highlight=False
        )

    live(folder, days, seed=seed, per_hour=per_hour, books=books, report=report)
    saved.write_bytes(msgspec.json.encode(books))
    distance, coverage, n = books.distance_to_truth()  # drops the responses, so it comes last
    violations = books.judge(RETENTION_DAYS, BOUNDS)
    console.print(table(books.months))
    for line in (
        f"{n:,} estimates: {distance:.3f} from the truth on average; {coverage:.1%} of the intervals hold it",
        f"starts: {books.starts}; most held at once: {books.most}",
        f"counters: {books.counters}",
        f"{len(violations)} violations",
        *violations[:20],
    ):
        console.print(line, highlight=False)
    figures = {"months": [asdict(month) for month in books.months], "distance": distance, "coverage": coverage}
    Path("year.json").write_text(json.dumps({**figures, "violations": violations}, indent=2) + "\n")
    return 1 if violations else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-hour", type=float, default=25.0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gauge-year-") as made:
        sys.exit(main(given.folder or Path(made), given.days, given.seed, given.per_hour))
