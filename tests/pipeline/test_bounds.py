"""Law 5: the state of the pipeline stays within its bounds for any input, and what exceeds a bound is counted."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import OVERFLOW_DOMAIN
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Pause, Rejected, Signal
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate, Output
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.windows import WindowSpec
from tests.copying import replace

SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=100.0, window_events=20, hop_s=50.0),
    assembly=AssemblySettings(max_in_flight=3, max_waiting=2, expiry_s=1e6),
    max_domains=10,
    max_fingerprints=4,
    max_pending_labels=7,
    windows_at_once=5,
    label_horizon_s=1e6,
    detect_drift=False,
    committee=CommitteeSettings(round_labels=50, max_training_rows=100),
)
TOKENS = Signal(chosen_logprobs=np.array([-0.1, -0.2], np.float32))


def response(n: int, *, at: float | None = None, domain: str = "law", model: str = "m") -> Generation:
    return Generation(f"r{n}", 1e6 + n if at is None else at, domain, Context(model=model), TOKENS)


def play(events: list[Event], store: MemoryStore | None = None) -> tuple[Pipeline, list[Output]]:
    """A pipeline that has processed these events in batches of 50, and its outputs."""
    pipeline, outputs, memory = Pipeline(SETTINGS), list[Output](), store or MemoryStore()
    for start in range(0, len(events), 50):
        with memory.transaction() as transaction:
            outputs += pipeline.step(events[start : start + 50], transaction)
    return pipeline, outputs


def reasons(outputs: list[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Rejected)]


def bound_reached(pipeline: Pipeline, setting: str) -> float | None:
    registry = CollectorRegistry()
    Metrics(registry).batch([], [], pipeline.state)
    return registry.get_sample_value("driftgauge_bound_reached_total", {"setting": setting})


def test_domains_beyond_the_bound_are_counted_in_the_overflow_domain() -> None:
    pipeline, outputs = play([response(n, domain=f"d{n}") for n in range(40)])
    domains = {series.domain for series in pipeline.state.domains}
    assert domains == {f"d{n}" for n in range(10)} | {OVERFLOW_DOMAIN}
    assert bound_reached(pipeline, "bounds.max_domains") == 30
    assert not reasons(outputs)  # no response is rejected: each is counted in the overflow domain


def test_a_domain_that_is_silent_longest_leaves_for_a_new_one() -> None:
    store = MemoryStore()
    pipeline, outputs = play([response(n, domain=f"d{n}", at=1e6 + 60.0 * n) for n in range(40)], store)
    assert {series.domain for series in pipeline.state.domains} == {f"d{n}" for n in range(30, 40)}
    assert bound_reached(pipeline, "bounds.max_domains") == 30
    assert len(store.tables.responses) == 40
    assert {o.domain for o in outputs if isinstance(o, Estimate)} >= {f"d{n}" for n in range(39)}


def test_the_context_that_is_silent_longest_leaves_for_a_new_one() -> None:
    store = MemoryStore()
    pipeline, outputs = play([response(n, model=f"m{n}") for n in range(9)], store)
    assert [context.model for context in pipeline.state.contexts.values()] == ["m5", "m6", "m7", "m8"]
    assert not reasons(outputs)
    assert len(store.tables.responses) == 9
    assert bound_reached(pipeline, "context.max_fingerprints") == 5


def test_the_state_of_as_many_contexts_and_domains_is_kept_for_their_return_as_may_be_live() -> None:
    store = MemoryStore()
    pipeline, _ = play([response(n, model=f"m{n}", domain=f"d{n}", at=1e6 + 60.0 * n) for n in range(90)], store)
    kinds = [name.partition("/")[0] for name in store.tables.retired]
    assert (kinds.count("context"), kinds.count("domain")) == (4, 4)  # a domain is forgotten with its context
    assert pipeline.state.counters["contexts_forgotten"] == 90 - 4 - 4
    one_context = MemoryStore()
    pipeline, _ = play([response(n, domain=f"d{n}", at=1e6 + 60.0 * n) for n in range(90)], one_context)
    assert len(one_context.tables.retired) == len(pipeline.state.retired.domains) == 10 * 4
    assert pipeline.state.counters["domains_forgotten"] == 90 - 10 - 40


@pytest.mark.parametrize("is_first", [True, False])
def test_a_domain_that_senders_call_as_the_overflow_domain_is_one_domain_before_and_after_a_restart(
    is_first: bool,
) -> None:
    own, further = response(99, at=1e6, domain=OVERFLOW_DOMAIN), [response(n, domain=f"d{n}") for n in range(12)]
    store = MemoryStore()
    pipeline, _ = play([own, *further] if is_first else [*further, own], store)
    expected = {f"d{n}" for n in range(10)} | {OVERFLOW_DOMAIN}
    assert {series.domain for series in pipeline.state.domains} == expected
    with store.transaction() as transaction:
        resumed = Pipeline.resume(SETTINGS, transaction)
        assert resumed.state.names == pipeline.state.names == Counter(f"d{n}" for n in range(10))
        resumed.step(
            [response(n, at=1e6 + 20, domain=name) for n, name in ((200, OVERFLOW_DOMAIN), (201, "d10"))], transaction
        )
    assert {series.domain for series in resumed.state.domains} == expected


def test_responses_in_pieces_beyond_the_bound_become_dead_letters() -> None:
    pipeline, outputs = play([Chunk(response(n), 0, is_last=False) for n in range(8)])
    assert len(pipeline.state.assembly.in_flight) == 3
    assert reasons(outputs) == ["too_many_in_flight"] * 5
    assert bound_reached(pipeline, "bounds.max_in_flight") == 5


@pytest.mark.parametrize(("n_counted", "n_unusable"), [(None, 0), (140_001, 0), (300_000, 1)])
def test_a_response_too_long_to_keep_its_profile_still_has_its_tokens_counted(
    n_counted: int | None, n_unusable: int
) -> None:
    """Beyond 65,536 tokens only sums of the profile are kept."""
    part = Signal(chosen_logprobs=np.full(70_000, -0.5, np.float32))
    first, second = (replace(response(0), signal=part, n_completion_tokens=n_counted) for _ in range(2))
    store = MemoryStore()
    pipeline, _ = play([Chunk(first, 0, is_last=False), Chunk(second, 1, is_last=True)], store)
    assert pipeline.state.counters["unusable_low_coverage"] == n_unusable
    with store.transaction() as memory:
        assert memory.responses(["r0"])["r0"].n_tokens == 140_000


def test_labels_for_unknown_responses_beyond_the_bound_become_dead_letters() -> None:
    labels: list[Event] = [Label(f"l{n}", f"nowhere{n}", 1e6, 1.0) for n in range(20)]
    store = MemoryStore()
    pipeline, outputs = play(labels, store)
    assert pipeline.state.n_pending == 7
    assert len(store.tables.labels) == 7
    assert reasons(outputs) == ["too_many_pending_labels"] * 13
    assert bound_reached(pipeline, "labels.max_pending") == 13


def test_past_windows_beyond_the_bound_wait_and_none_is_lost() -> None:
    late: list[Event] = [response(1000 + n, at=1e6 + 60.0 * n, domain=f"d{n % 9}") for n in range(100)]
    store = MemoryStore()
    pipeline, _ = play([response(n, at=1e6 + 60.0 * n) for n in range(100)] + late, store)
    marked, again = set(store.tables.stale), list[Estimate]()
    assert pipeline.state.n_stale == len(marked) > 100
    while pipeline.state.has_news:
        with store.transaction() as transaction:
            outputs = pipeline.step([Pause()], transaction)
        past = [o for o in outputs if isinstance(o, Estimate) and o.window_end < pipeline.state.boundary]
        assert 1 <= len(past) <= 5
        again += past
    assert sorted((estimate.series, estimate.window_end) for estimate in again) == sorted(marked)
    assert (pipeline.state.n_stale, pipeline.state.n_due, store.tables.stale) == (0, 0, {})


def test_the_buffer_of_a_window_never_exceeds_its_capacity() -> None:
    pipeline, _ = play([response(n, at=1e6) for n in range(500)])
    (domain,) = pipeline.state.domains.values()
    assert len(domain.window) <= domain.window.capacity


class Forgetful(MemoryStore):
    """A store that is emptied before each transaction, so that only the pipeline can grow."""

    def transaction(self) -> Any:
        self.tables.__init__()  # type: ignore[misc]  # empties all tables
        self.tables.epoch = self.epoch
        self._crash.points.clear()
        return super().transaction()


def many(first: int, n: int, step_s: float) -> Iterator[Event]:
    for i in range(first, first + n):
        yield response(i, domain=f"d{i}", at=1e6 + i * step_s)
        yield Label(f"l{i}", f"r{i}" if i % 3 else f"nowhere{i}", 1e6, float(i % 2))


N_ROUNDS, N_WARM_UP_ROUNDS, PER_ROUND = 10, 4, 200
N_LATER = (N_ROUNDS - N_WARM_UP_ROUNDS) * PER_ROUND
"""Domains after the warm-up."""


def growth(pipeline: Pipeline, step_s: float) -> tuple[float, float]:
    """Objects of this process and bytes of the pipeline that are kept of each domain after the warm-up."""
    memory, sizes = Forgetful(), list[tuple[int, int]]()
    gc.collect()
    gc.freeze()  # so that the collections below visit only objects of this test, not those of every library
    try:
        for part in range(N_ROUNDS):
            events = list(many(part * PER_ROUND, PER_ROUND, step_s))
            for start in range(0, len(events), 100):
                with memory.transaction() as transaction:
                    pipeline.step(events[start : start + 100], transaction)
            del events
            gc.collect()
            sizes.append((sys.getallocatedblocks(), n_bytes(pipeline)))
    finally:
        gc.unfreeze()
    objects, in_bytes = np.subtract(sizes[-1], sizes[N_WARM_UP_ROUNDS - 1]) / N_LATER
    return float(objects), float(in_bytes)


def n_bytes(root: object) -> int:
    """Bytes of all that can be reached from an object, but for code."""
    seen, waiting, found = set[int](), [root], 0
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen.add(id(one))
            found += sys.getsizeof(one)
            waiting += gc.get_referents(one)
    return found


def leaks(objects: float, in_bytes: float) -> bool:
    """Whether something is kept of each domain: half an object, as only some domains may leave one, or ten bytes."""
    return objects > 0.5 or in_bytes > 10


def forgetful_pipeline(kind: type[Pipeline] = Pipeline) -> Pipeline:
    return kind(replace(SETTINGS, max_pending_labels=10))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step_s", [0.01, 5.0], ids=["overflow", "leaving"])
def test_memory_stays_constant_for_any_number_of_domains(step_s: float) -> None:
    found = growth(forgetful_pipeline(), step_s)
    assert not leaks(*found), found


class KeepsNames(Pipeline):
    """A mutant: it keeps the name of each domain."""

    kept: ClassVar[list[str]] = []

    def step(self, events: Sequence[Event], memory: Memory) -> list[Output]:
        self.kept.extend(str(event.domain) for event in events if isinstance(event, Generation))
        return super().step(events, memory)


class KeepsNumbers(Pipeline):
    """A mutant: it keeps two numbers of each domain, in one object."""

    kept = np.zeros(0)

    def step(self, events: Sequence[Event], memory: Memory) -> list[Output]:
        self.kept = np.append(self.kept, [e.event_time for e in events if isinstance(e, Generation) for _ in "12"])
        return super().step(events, memory)


@pytest.mark.parametrize("mutant", [KeepsNames, KeepsNumbers])
def test_memory_that_grows_with_the_number_of_domains_is_noticed(mutant: type[Pipeline]) -> None:
    assert leaks(*growth(forgetful_pipeline(mutant), 5.0))
