"""The same log through every way of reading it: which ways there are, and one table of what came of each.

A way brings the log into a topic that an agent can read. Spark's is in `tests/spark`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from rich.table import Table

from tests.same.log import lines
from tests.same.runs import Run, run
from tests.same.world import World, model_settings

Way: TypeAlias = Callable[[World], str]


def raw(world: World) -> str:
    """The agent reads the raw records themselves."""
    world.fill(0, 1)
    return world.raw


def side_by_side(
    broker: str,
    seed: int,
    n_responses: int,
    n_partitions: int,
    ways: Mapping[str, Way],
    report: Callable[[str], object] = lambda _: None,
) -> list[Run]:
    """One run for each way, each in a world of its own with the same log. The others are compared with the first."""
    log, runs = list(lines(seed, n_responses)), []
    for name, way in ways.items():
        report(f"{name}: {len(log):,} records")
        with (
            tempfile.TemporaryDirectory(prefix="gauge-same-") as folder,
            closing(World(broker, Path(folder), log, model_settings(n_responses), n_partitions)) as world,
        ):
            runs.append(run(world, name, way))
    return runs


def problems(runs: list[Run]) -> list[str]:
    """Where a run differs from an agent alone in the same order, or from the first run.

    Estimates must be those of the first run to the bit where the order is.
    """
    first = runs[0]
    found = [(f"{one.name} in its own order", one.different) for one in runs]
    found += [(f"{one.name} beside {first.name}", one.differences(first)) for one in runs[1:]]
    accounts = [f"the account of {one.name}: {one.account.to_json()}" for one in runs
                if replace(one.account, given_up=first.account.given_up) != first.account]  # fmt: skip
    estimates = [f"the estimates of {one.name} are others" for one in runs
                 if one.is_ordered_as(first) and one.estimates != first.estimates]  # fmt: skip
    return [f"{where}: {differing}" for where, differing in found if differing] + accounts + estimates


def table(runs: list[Run]) -> Table:
    """One column for each run."""
    made = Table("", *(one.name for one in runs))
    for column in made.columns[1:]:
        column.justify = "right"
    first = runs[0]
    for name, value in ROWS.items():
        made.add_row(name, *(value(one, first) for one in runs))
    return made


def _differing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "0"


ROWS: Mapping[str, Callable[[Run, Run], str]] = {
    "raw records": lambda one, _: f"{one.account.records:,}",
    "used": lambda one, _: f"{one.account.used:,}",
    "dead letters": lambda one, _: f"{one.account.n_dead:,}",
    "tombstones": lambda one, _: f"{one.account.tombstones:,}",
    "given up before the end of the log": lambda one, _: f"{one.account.given_up.total():,}",
    "published again, passed over": lambda one, _: f"{one.n_repeated:,}",
    "responses": lambda one, _: f"{one.sets['responses'].total():,}",
    "labels of responses": lambda one, _: f"{one.sets['labels'].total():,}",
    "windows": lambda one, _: f"{len(one.estimates):,}",
    "rows that differ from an agent alone in the same order": lambda one, _: _differing(one.different),
    "rows that differ from the first run, as sets": lambda one, first: _differing(one.differences(first)),
    "applied in the order of the first run": lambda one, first: "yes" if one.is_ordered_as(first) else "no",
    "largest difference of an estimate from the first run": lambda one, first: f"{one.largest_difference(first):.3g}",
}
"""What the table says of each run, beside the first one."""
