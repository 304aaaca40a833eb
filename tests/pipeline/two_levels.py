"""A simulation of an agent in two levels: what its upper level must be told to give the estimates of one agent.

python -m tests.pipeline.two_levels [RESPONSES] [SHARDS]

Each shard has some of the partitions. It keeps all responses and passes on three kinds: the first of each domain; at
each boundary the newest ``window_events`` of each domain, which is all that a window holds; and any response that gets
a label. The upper level is the agent as it is. See docs/decisions/0028-one-state.md.
"""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Signal, Tick
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate
from driftgauge.models.windows import WindowSpec

RECORDING = Path(__file__).parents[1] / "recordings" / "reference.npz"
STEP_S, LABEL_SHARE = 0.02, 0.005
SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=1_200.0, window_events=60, hop_s=300.0),
    committee=CommitteeSettings(refit_every_labels=100),
    emit_every_events=10**9,
    emit_every_labels=10**9,
    windows_at_once=10**9,
    label_horizon_s=10**9,
    detect_drift=False,  # the detectors see every response, so they belong to the shards
)


class Compared(NamedTuple):
    """Estimates of the two ways, by key, and how many responses reached each."""

    whole: dict[str, Estimate]
    merged: dict[str, Estimate]
    n_responses: int
    n_passed_on: int


def log(n: int, seed: int = 0) -> list[Event]:
    """Recorded responses under new ids, with late labels; a tick where event time reaches a boundary."""
    rng, recording = np.random.default_rng(seed), read_recording(RECORDING)
    features, hop_s = recording.features().astype(np.float32), SETTINGS.windows.hop_s
    placed: list[tuple[float, int, Event]] = []
    for number, i in enumerate(rng.integers(len(recording), size=n).tolist()):
        at, name = number * STEP_S, f"r{number}"
        response = Generation(name, at, str(recording.domain[i]), Context(model="m"), Signal(features=features[i]))
        placed.append((at, 1, response))
        if rng.random() < LABEL_SHARE:
            late_s = float(rng.exponential(2 * hop_s))
            placed.append((at + late_s, 2, Label(f"l{number}", name, at + late_s, float(recording.labels[i]))))
    ends = np.arange(hop_s, n * STEP_S, hop_s).tolist()
    placed += [(end, 0, Tick(end)) for end in ends]
    return [event for _, _, event in sorted(placed, key=lambda one: one[:2])]


class Shard:
    """The lower level: keeps responses, and says which of them the upper level needs."""

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._kept: dict[str, Generation] = {}
        self._hop: dict[str, list[Generation]] = defaultdict(list)  # of each domain, since the last boundary
        self._domains: set[str] = set()

    def take(self, response: Generation) -> bool:
        """Keep a response; returns whether it is passed on at once, as the first of its domain."""
        self._hop[response.domain].append(response)
        is_first = response.domain not in self._domains
        self._domains.add(response.domain)
        if not is_first:
            self._kept[response.id] = response
        return is_first

    def newest(self) -> Iterator[Generation]:
        """At a boundary: what its window may hold and the upper level does not have yet."""
        for responses in self._hop.values():
            newest = sorted(responses, key=lambda one: (one.event_time, one.id))[-self._spec.window_events :]
            yield from (one for one in newest if self._kept.pop(one.id, None))
        self._hop.clear()

    def labelled(self, response_id: str) -> Generation | None:
        """A response that gets a label, unless it was passed on before."""
        return self._kept.pop(response_id, None)


def passed_on(events: Iterable[Event], n_shards: int, absent: Sequence[int] = ()) -> Iterator[Event]:
    """What the upper level is told of a log; shards that are absent say nothing."""
    shards = [Shard(SETTINGS.windows) for _ in range(n_shards)]
    for event in without(events, n_shards, absent):
        if isinstance(event, Tick):
            yield from sorted((one for shard in shards for one in shard.newest()), key=lambda one: one.event_time)
            yield event
        elif isinstance(event, Label):
            response = shards[shard_of(event, n_shards)].labelled(event.response_id)
            yield from (event,) if response is None else (response, event)
        elif isinstance(event, Generation) and shards[shard_of(event, n_shards)].take(event):
            yield event


def without(events: Iterable[Event], n_shards: int, absent: Sequence[int]) -> Iterator[Event]:
    """A log without the partitions of some shards."""
    return (event for event in events if shard_of(event, n_shards) not in absent)


def shard_of(event: Event, n_shards: int) -> int:
    """The shard of a response and of its labels; -1 for other events."""
    name = event.response_id if isinstance(event, Label) else event.id if isinstance(event, Generation) else None
    return -1 if name is None else zlib.crc32(name.encode()) % n_shards


def estimates(events: Iterable[Event]) -> dict[str, Estimate]:
    """The newest estimate with each key."""
    pipeline, store = Pipeline(SETTINGS), MemoryStore()
    listed = [*events]
    for start in range(0, len(listed), 500):
        with store.transaction() as memory:
            memory.emit(pipeline.step(listed[start : start + 500], memory))
    return {estimate.key: estimate for estimate in reversed(store.newest(Estimate, 10**9))}


def compared(n: int, n_shards: int, absent: Sequence[int] = (), seed: int = 0) -> Compared:
    """One agent, and two levels, on the same log."""
    events = log(n, seed)
    told = [*passed_on(events, n_shards, absent)]
    n_responses, n_told = (sum(isinstance(event, Generation) for event in some) for some in (events, told))
    return Compared(estimates(events), estimates(told), n_responses, n_told)


def values(estimate: Estimate) -> tuple[object, ...]:
    """What must be equal."""
    return (
        estimate.status, estimate.accuracy, estimate.ci_low, estimate.ci_high, estimate.n_events, estimate.n_labels,
        estimate.anytime_low, estimate.anytime_high,
    )  # fmt: skip


def table(n: int, n_shards: int) -> Table:
    made = Table(title=f"{n:,} responses, {n_shards} shards")
    for name in ("shards that are there", "passed on", "estimates", "the same to the bit", "mean width", "mean error"):
        made.add_column(name, justify="right")
    for absent in ((), (0,)):
        found = compared(n, n_shards, absent)
        pairs = [(found.whole[key], found.merged[key]) for key in found.whole if key in found.merged]
        known = [(a, b) for a, b in pairs if a.accuracy is not None and b.accuracy is not None]
        made.add_row(
            f"{n_shards - len(absent)} of {n_shards}",
            f"{found.n_passed_on / found.n_responses:.1%}",
            f"{len(pairs)} of {len(found.whole)}",
            f"{sum(values(a) == values(b) for a, b in pairs)}",
            f"{np.mean([(b.ci_high or 0) - (b.ci_low or 0) for _, b in known]):.3f}",
            f"{np.mean([abs(a.accuracy - b.accuracy) for a, b in known if a.accuracy and b.accuracy]):.4f}",
        )
    return made


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    Console().print(table(given[0] if given else 100_000, given[1] if len(given) > 1 else 4))
