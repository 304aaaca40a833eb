"""A million mutated payloads through the whole agent: none raises, hangs, grows or counts twice.

    python -m tests.fuzz.million [N] [--seed S] [--processes P]

Each input is decoded alone, and then goes through the loop, the step and a store (`stepping`), in memory, in some
shares in SQLite. A record that only the net of internal errors catches is a violation.

On a violation the exit code is 1 and the numbers of the offending inputs are printed; the same seed and number make the
same input again.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from random import Random
from types import FrameType

from rich.console import Console
from rich.table import Table

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.internal_errors import describe
from driftgauge.models.events import Rejected, Signal
from tests.fuzz.checks import check_features, check_record, signals_of
from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import Seed, seeds
from tests.fuzz.stepping import records_of, run_through_the_agent

SLOW_S = 1.0  # of CPU time, which other processes do not lengthen
MAX_RSS_MIB = 512
FEATURES_OF = 250  # inputs whose features are computed at once, as the agent does
SEEDS = seeds()
BODIES = [seed.body for seed in SEEDS]
OWN = [seed for seed in SEEDS if seed.format == "driftgauge"]
LABELS = [seed for seed in OWN if b"label_id" in seed.body]
OWN_UNCHANGED = 0.4  # share of own events that are not mutated, so that the core has something to learn
SHARE = 5_000  # inputs per task: how often progress is shown
IN_DATABASE_EVERY = 5  # one task of so many uses SQLite


@dataclass
class Tally:
    """The outcomes of the inputs made from the payloads of one format."""

    inputs: int = 0
    with_events: int = 0
    rejected: int = 0
    nothing: int = 0
    slowest_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the numbers of another tally."""
        self.inputs += other.inputs
        self.with_events += other.with_events
        self.rejected += other.rejected
        self.nothing += other.nothing
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.reasons += other.reasons


@dataclass
class Share:
    """The outcome of one task."""

    tallies: dict[str, Tally]
    violations: list[str]
    rss_mib: float
    internal_errors: int = 0
    used: int = 0
    not_used: int = 0


def made(random_seed: int, number: int) -> tuple[Seed, bytes]:
    """Input ``number`` of a run: its seed and its bytes. Own events and labels come often: the core is for them."""
    random = Random((random_seed << 40) + number)  # noqa: S311 - reproducible, not secret
    seed = random.choice(random.choice((SEEDS, SEEDS, OWN, OWN, LABELS)))
    if seed.format == "driftgauge" and random.random() < OWN_UNCHANGED:
        return seed, seed.body
    return seed, mutated(seed.body, BODIES, random)


def run_share(random_seed: int, start: int, stop: int) -> Share:
    """Inputs ``start`` to ``stop`` of a run."""
    decoder = Decoder()
    share, signals = Share({}, [], 0.0), list[Signal]()
    signal.signal(signal.SIGPROF, _hangs)
    for number in range(start, stop):
        seed, body = made(random_seed, number)
        tally = share.tallies.setdefault(seed.format, Tally())
        try:
            signals += _signals(decoder, Record("fuzz", 0, number, b"key", body, seed.headers), tally)
            if number % FEATURES_OF == FEATURES_OF - 1 or number == stop - 1:
                check_features(signals)
        except Exception as error:  # any exception is a finding
            share.violations.append(f"input {number}, made from {seed.format}: {type(error).__name__}: {error}"[:300])
        if number % FEATURES_OF == FEATURES_OF - 1:
            signals = []
    _through_the_agent(share, random_seed, start, stop)
    share.rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return share


def _through_the_agent(share: Share, random_seed: int, start: int, stop: int) -> None:
    """The same inputs through the loop, the step and a store."""
    bodies = [
        (number, body, seed.headers) for number in range(start, stop) for seed, body in [made(random_seed, number)]
    ]
    try:
        in_database = start // SHARE % IN_DATABASE_EVERY == IN_DATABASE_EVERY - 1
        checks, account = run_through_the_agent(records_of(bodies), in_database=in_database)
    except Exception as error:  # any exception is a finding
        traceback = describe(error)
        share.violations.append(f"inputs {start} to {stop}: the agent stopped: {traceback}: {error}"[:300])
        return
    share.violations += checks.findings
    share.internal_errors = checks.internal_errors
    share.used, share.not_used = account.used, account.n_dead


def _signals(decoder: Decoder, record: Record, tally: Tally) -> list[Signal]:
    """Decode one input, count it, and return its signals."""
    signal.setitimer(signal.ITIMER_PROF, 10 * SLOW_S)
    began = time.process_time()
    try:
        events = check_record(decoder, record)
    finally:
        took = time.process_time() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
    letters = [event.reason for event in events if isinstance(event, Rejected)]
    tally.inputs += 1
    tally.slowest_s = max(tally.slowest_s, took)
    tally.reasons.update(letters)
    tally.rejected += len(letters)
    tally.with_events += len(events) > len(letters)
    tally.nothing += not events
    assert took <= SLOW_S, f"took {took:.1f} s"
    return signals_of(events)


def _hangs(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a signal handler
    raise TimeoutError("hangs")


def run(n: int, random_seed: int, processes: int, console: Console) -> Iterator[Share]:
    """All shares, as they are done."""
    starts = range(0, n, SHARE)
    stops = [min(n, start + SHARE) for start in starts]
    began = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        shares = pool.map(run_share, [random_seed] * len(stops), starts, stops)
        for stop, share in zip(stops, shares, strict=True):
            yield share
            console.print(f"{stop:,} of {n:,} inputs, {time.perf_counter() - began:.0f} s", highlight=False)


def table_of(tallies: dict[str, Tally]) -> Table:
    """One row per format, and one for all."""
    table = Table("made from", "inputs", "events", "rejected", "nothing", "slowest, ms of CPU", "most frequent reasons")
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    for name, tally in [*sorted(tallies.items()), ("all", total)]:
        numbers = (tally.inputs, tally.with_events, tally.rejected, tally.nothing)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in tally.reasons.most_common(4))
        table.add_row(name, *(f"{number:,}" for number in numbers), f"{1e3 * tally.slowest_s:.1f}", reasons)
    return table


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    console = Console(width=150)
    tallies: dict[str, Tally] = {}
    violations: list[str] = []
    rss_mib, internal_errors, used, not_used = 0.0, 0, 0, 0
    for share in run(options.n, options.seed, options.processes, console):
        for name, tally in share.tallies.items():
            tallies.setdefault(name, Tally()).add(tally)
        violations += share.violations
        internal_errors += share.internal_errors
        used, not_used = used + share.used, not_used + share.not_used
        rss_mib = max(rss_mib, share.rss_mib)
    if rss_mib > MAX_RSS_MIB:
        violations.append(f"a process grew to {rss_mib:.0f} MiB; the bound is {MAX_RSS_MIB}")
    console.print(table_of(tallies))
    console.print(f"through the agent: {used:,} used, {not_used:,} dead letters", highlight=False)
    console.print(
        f"largest process {rss_mib:.0f} MiB of {MAX_RSS_MIB}, {internal_errors} internal errors, "
        f"{len(violations)} violations",
        highlight=False,
    )
    for violation in violations[:20]:
        console.print(violation, style="red", highlight=False, markup=False)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
