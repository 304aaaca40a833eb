"""The connectors in memory: the process can die at every effect, and committed changes survive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from driftgauge.connectors.base import Record, TopicPartition
from driftgauge.connectors.testing import Crash, CrashPlan, MemorySink, MemorySource, MemoryStore, Tables
from driftgauge.models.series import SeriesKey
from tests.store.examples import alert, label, response

LOG = [Record("t", n % 2, n // 2, None, b"%d" % n) for n in range(6)]


def run(tables: Tables, published: list[bytes], plan: CrashPlan) -> None:
    """A small agent: every record becomes a response, a label, a state and an alert."""
    store = MemoryStore(tables, crash=plan, keep_audit=True)
    source = MemorySource(LOG, max_records=2, crash=plan)
    sink = MemorySink(crash=plan)
    with store.transaction() as memory:
        source.open(memory.positions())
    try:
        while True:
            for message in store.outbox(9):
                sink.publish([message])
                store.acknowledge(message.seq)
            records = source.poll(0.0)
            if not records:
                return
            with store.transaction() as memory:
                first = len(memory.window(SeriesKey("law", "f1"), 0, 1e9, 100))
                rows = [response(first + i) for i in range(len(records))]
                memory.add_responses(rows)
                memory.add_labels([label("l", row.id) for row in rows])
                memory.resolve([response(row.seq, correct=1.0) for row in rows])
                memory.save_state({"n": b"%d" % (first + len(rows))})
                reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
                memory.save_positions(reached)
                memory.audit(records)
                memory.emit([alert(row.seq) for row in rows])
            source.commit(reached)
    finally:
        published.extend(message.key for message in sink.messages)


def outcome(tables: Tables, published: list[bytes]) -> object:
    counters = {name: count for name, count in tables.counters.items() if name != "outbox"}
    with MemoryStore(tables).transaction() as memory:
        rows = memory.labelled("f1", 100)
        return (
            (rows.seq.tolist(), rows.correct.tolist(), memory.state(""), memory.positions()),
            (memory.labels(rows.id.tolist()), list(tables.applied.values()), tables.outputs, counters),
            sorted(set(published)),
        )


def test_a_crash_at_any_effect_does_not_change_the_final_state() -> None:
    survey, tables, published = CrashPlan(), Tables(), list[bytes]()
    run(tables, published, survey)
    expected = outcome(tables, published)
    assert {point.partition(" ")[2] for point in survey.points} == {
        *("poll", "begin", "add responses", "add labels", "resolve", "save state", "save positions", "emit"),
        *("commit", "publish", "acknowledge", "source commit"),
    }
    for at, point in enumerate(survey.points):
        tables, published = Tables(), []
        with pytest.raises(Crash, match=point):
            run(tables, published, CrashPlan(at))
        run(tables, published, CrashPlan())
        assert outcome(tables, published) == expected, point


def test_code_that_suppresses_exceptions_does_not_stop_a_crash() -> None:
    plan = CrashPlan(at=0)
    with pytest.raises(Crash), suppress(Exception), plan.effect("poll"):
        pass


@pytest.mark.parametrize(("at", "is_committed"), [("before commit", False), ("after commit", True)])
def test_a_crash_around_a_commit_happens_before_or_after_it(at: str, is_committed: bool) -> None:
    stores: list[MemoryStore] = []

    def work(plan: CrashPlan) -> None:
        stores.append(MemoryStore(crash=plan))
        with stores[-1].transaction() as memory:
            memory.save_state({"a": b"1"})

    die_at(at, work)
    assert stores[-1].tables.state == ({"a": b"1"} if is_committed else {})


def test_a_crash_after_publishing_leaves_the_messages_in_the_outbox() -> None:
    tables, sinks = Tables(), list[MemorySink]()
    store = MemoryStore(tables)
    with store.transaction() as memory:
        memory.emit([alert(1), alert(2)])

    def work(plan: CrashPlan) -> None:
        sinks.append(MemorySink(crash=plan))
        sinks[-1].publish(store.outbox(10))

    die_at("after publish", work)
    assert [message.key for message in sinks[-1].messages] == [b"law/drift/1"]
    assert len(store.outbox(10)) == 2


def test_a_memory_source_gives_the_log_in_order_from_the_stored_positions() -> None:
    source = MemorySource(LOG, max_records=2)
    source.open({TopicPartition("t", 0): 2})
    assert source.lag() == {("t", 0): 1, ("t", 1): 3}
    polled = [[record.value for record in source.poll(0.0)] for _ in range(2)]
    assert polled == [[b"1", b"3"], [b"4", b"5"]]
    assert source.is_exhausted
    assert source.poll(0.0) == []
    assert set(source.lag().values()) == {0}


def die_at(point: str, work: Callable[[CrashPlan], None]) -> None:
    """Do the work, and die at the first point of this name."""
    for at in range(100):
        plan = CrashPlan(at)
        with suppress(Crash):
            work(plan)
        if plan.points[-1] == point:
            return
    raise AssertionError(f"no {point}")
