"""Laws 1 and 2 of the pipeline: results do not depend on where a batch ends, nor on where a process dies."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.publishing.encode import Topics, encode
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Pause, Rejected, Tick
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Prediction, ReportWritten
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import (
    CROWDED,
    SETTINGS,
    START,
    comparable,
    make_colliding_log,
    make_log,
    make_roaming_log,
    play,
    remembered,
    signal,
)


def cut(log: list[Event], sizes: list[int]) -> list[list[Event]]:
    batches, at, turn = [], 0, 0
    while at < len(log):
        batches.append(log[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    return batches


LOGS = pytest.mark.parametrize(
    ("make", "base"),
    [(make_log, SETTINGS), (make_colliding_log, SETTINGS), (make_roaming_log, CROWDED)],
    ids=["usual", "colliding", "roaming"],
)


@LOGS
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5))
@example(seed=6, sizes=[1])  # a repeat of a response brings an alias under which a label was pending
def test_results_do_not_depend_on_where_batches_end(
    make: Callable[[int], list[Event]], base: PipelineSettings, seed: int, sizes: list[int]
) -> None:
    log = make(seed)
    whole, cut_up = MemoryStore(), MemoryStore()
    assert comparable(play(whole, [log], base)) == comparable(play(cut_up, cut(log, sizes), base))
    assert remembered(whole) == remembered(cut_up)


@LOGS
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.lists(st.integers(1, 220), min_size=1, max_size=4))
@example(seed=213, at=[116])  # in the middle of a boundary that is closed in steps, with a late response
def test_results_do_not_depend_on_where_the_pipeline_is_resumed(
    make: Callable[[int], list[Event]], base: PipelineSettings, seed: int, at: list[int]
) -> None:
    log = make(seed)
    straight, resumed = MemoryStore(), MemoryStore()
    expected = comparable(play(straight, cut(log, [20]), base))
    ends = sorted({min(i, len(log)) for i in at})
    parts = [log[a:b] for a, b in zip([0, *ends], [*ends, len(log)], strict=True)]
    assert [output for part in parts for output in comparable(play(resumed, cut(part, [20]), base))] == expected
    assert remembered(straight) == remembered(resumed)


def names_with_two_contents(outputs: list[Output]) -> set[tuple[str, bytes, str]]:
    """Kind, key and CloudEvents id of the messages that are not the same bytes each time they are sent."""
    seen: dict[tuple[str, bytes, str], object] = {}
    return {
        name
        for output in comparable(outputs)
        for name, content in [_named(output)]
        if seen.setdefault(name, content) != content
    }


def _named(output: Output) -> tuple[tuple[str, bytes, str], object]:
    message = encode(output, Topics(), "driftgauge", epoch=1)
    headers = dict(message.headers)
    return (OUTPUT_KINDS[type(output)].name, message.key, headers["ce_id"].decode()), (message.value, headers)


@LOGS
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    at=st.lists(st.integers(1, 80), max_size=3),
    pauses=st.sets(st.integers(0, 80), max_size=10),
    hop_s=st.sampled_from([0.4, 30.0]),
)
def test_a_key_and_a_revision_never_name_two_contents(
    make: Callable[[int, int], list[Event]], base: PipelineSettings,
    seed: int, at: list[int], pauses: set[int], hop_s: float,
) -> None:  # fmt: skip
    log = [event for i, event in enumerate(make(seed, 50)) for event in ([Pause(), event] if i in pauses else [event])]
    busy = replace(base, windows=WindowSpec(8 * hop_s, 60, hop_s), predictions="all")
    store, outputs = MemoryStore(), list[Output]()
    ends = [0, *sorted(min(i, len(log)) for i in at), len(log)]
    for start, stop in itertools.pairwise(ends):  # each part is played by a pipeline that is resumed
        outputs += play(store, cut(log[start:stop], [20]), busy)
    assert names_with_two_contents(outputs) == set()


def test_the_outputs_of_these_tests_are_of_every_kind() -> None:
    log = [event for event in make_log(3) for event in (event, Pause())]
    outputs = play(MemoryStore(), [log], replace(SETTINGS, predictions="all"))
    assert {type(output) for output in outputs} == {*OUTPUT_KINDS} - {ReportWritten}  # that one is of a job beside it
    assert any(isinstance(o, Acquisition) and o.revision > 1 for o in outputs)
    assert any(isinstance(o, Prediction) and not o.is_final for o in outputs)


IMPATIENT = replace(SETTINGS, windows=WindowSpec(20.0, 10, 5.0), label_horizon_s=10.0, max_pending_labels=4)
moments = st.tuples(st.sampled_from(["response", "label", "tick"]), st.integers(0, 5), st.integers(0, 60))


@settings(max_examples=300, deadline=None)
@given(st.lists(moments, min_size=2, max_size=20))
def test_labels_expire_at_the_same_event_wherever_batches_end(drawn: list[tuple[str, int, int]]) -> None:
    rng, log = np.random.default_rng(0), list[Event]()
    for kind, number, at in drawn:
        if kind == "label":
            log.append(Label(f"l{number}", f"r{number}", START + at, 1.0))
        elif kind == "response":
            log.append(Generation(f"r{number}", START + at, "a", Context(model="m"), signal(rng, 3)))
        else:
            log.append(Tick(START + at))
    whole, one_by_one = MemoryStore(), MemoryStore()
    whole_outputs, outputs = play(whole, [log], IMPATIENT), play(one_by_one, cut(log, [1]), IMPATIENT)
    assert comparable(whole_outputs) == comparable(outputs)
    assert remembered(whole) == remembered(one_by_one)


def shifted(n: int = 1_200) -> list[Event]:
    """Two domains whose responses become less certain half way, some of them late."""
    rng = np.random.default_rng(5)
    return [
        Generation(
            f"r{i}", START + i - 30 * int(rng.random() < 0.1), "ab"[i % 2], Context(model="m"),
            signal(rng, 6, correct=i < n // 2),
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 64])
def test_alerts_do_not_depend_on_where_batches_end_nor_on_restarts(size: int) -> None:
    batches = cut(shifted(), [size])
    expected = [o for o in play(MemoryStore(), [shifted()]) if isinstance(o, Alert)]
    assert {alert.kind for alert in expected} >= {"drift", "new_context"}
    assert [o for o in play(MemoryStore(), batches) if isinstance(o, Alert)] == expected
    store, half = MemoryStore(), len(batches) * 3 // 4
    outputs = [*play(store, batches[:half]), *play(store, batches[half:])]
    assert [o for o in outputs if isinstance(o, Alert)] == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_log_of_these_tests_contains_revised_estimates_and_dead_letters(seed: int) -> None:
    outputs = play(MemoryStore(), [make_log(seed, 400)])
    estimates = [o for o in outputs if isinstance(o, Estimate)]
    assert any(e.revision > 1 for e in estimates)
    assert any(e.status == "ok" for e in estimates)
    assert any(e.status == "insufficient_data" for e in estimates)
    reasons = {o.reason for o in outputs if isinstance(o, Rejected)}
    assert {"malformed", "unmatched_label", "incomplete_response"} <= reasons
    assert all(np.isfinite(e.accuracy) for e in estimates if e.accuracy is not None)


def test_the_log_of_colliding_ids_exercises_what_it_should() -> None:
    counters: Counter[str] = Counter()
    for seed in range(3):
        store = MemoryStore()
        play(store, [make_colliding_log(seed)])
        with store.transaction() as transaction:
            counters += State.resume(SETTINGS, transaction).counters
    expected = {
        "rejected_id_conflict", "rejected_labels_out_of_scale",
        "duplicate_responses", "duplicate_chunks", "duplicate_labels", "labels_ambiguous",
        "labels_revised", "labels_without_effect", "alerts_id_conflict",
    }  # fmt: skip
    assert {name for name in expected if not counters[name]} == set()


def test_the_log_of_roaming_domains_exercises_what_it_should() -> None:
    counters: Counter[str] = Counter()
    for seed in range(3):
        store = MemoryStore()
        play(store, [make_roaming_log(seed, 90)], CROWDED)
        with store.transaction() as transaction:
            counters += State.resume(CROWDED, transaction).counters
    expected = {
        "contexts_retired", "contexts_returned", "contexts_forgotten", "domains_retired", "domains_returned",
        "domains_forgotten", "domain_overflow", "labels_without_context",
    }  # fmt: skip
    assert {name for name in expected if not counters[name]} == set()
