"""Law 2: killed at any effect and started again, the agent ends as if nothing had happened.

Every poll, transaction, write, publication, acknowledgement and commit is an effect; the process dies just before or
just after each of them, one run per point. The oracle is an uninterrupted run over the order in which the records were
applied, which is that of the log unless a broker delivers it otherwise after the restart.
"""

from __future__ import annotations

import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record, Sink, TopicPartition
from driftgauge.connectors.testing import CrashPlan
from tests.crash.agents import World, records

SEEDS = range(3)


def violations(world: World, straight: World) -> list[str]:
    """What the oracle has to say about a world in which agents died."""
    found = []
    if world.remembered() != straight.remembered():
        found.append("the final state differs")
    if set(world.contents()) != set(straight.contents()):
        found.append("the set of outputs differs")
    if world.tables.outbox:
        found.append("the outbox is not empty")
    per_partition: dict[tuple[str, int], list[int]] = {}
    for topic, partition, offset in world.audit:
        per_partition.setdefault((topic, partition), []).append(offset)
    if any(offsets != list(range(len(offsets))) for offsets in per_partition.values()):
        found.append("a record was applied twice, or not, or out of order")
    return found


def crash_points(log: list[Record]) -> tuple[World, list[str]]:
    straight, survey = World(log), CrashPlan()
    straight.run(crash=survey)
    return straight, survey.points


@pytest.mark.parametrize("seed", SEEDS)
def test_dying_at_any_effect_changes_nothing(seed: int) -> None:
    log = records(seed, 24)
    straight, points = crash_points(log)
    assert {p.split()[-1] for p in points} >= {"poll", "begin", "commit", "publish", "acknowledge"}
    assert violations(straight, straight) == []
    for at, point in enumerate(points):
        world = World(log)
        world.survive(CrashPlan(at=at))
        assert violations(world, straight) == [], f"killed {point} (effect {at})"


def test_where_batches_end_changes_nothing_published() -> None:
    log = records(7, 80)
    one, many = World(log), World(log)
    one.run(max_records=10_000)
    many.run(max_records=3)
    assert one.contents() == many.contents()
    assert one.remembered() == many.remembered()


class PublishesBeforeCommit(Loop):
    """A mutant: outputs leave before the transaction that made them is committed."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant need not be general
        sink = self.open_sink()
        with self.store.transaction() as transaction:
            outputs = pipeline.step(self.decoder.decode(records), transaction)
            before = len(self.store.outbox(10_000))
            transaction.save_positions({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})
            transaction.audit(records)
            transaction.emit(outputs)
            sink.publish(self.store.outbox(10_000)[before:])
        positions.update({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})


class ForgetsOutboxFirst(Loop):
    """A mutant: the outbox is forgotten before the acknowledgement."""

    def _publish(self, sink: Sink) -> None:
        while messages := self.store.outbox(1_000):
            self.store.acknowledge(messages[-1].seq)
            sink.publish(messages)


class SavesPositionsFirst(Loop):
    """A mutant: positions are committed before the rows."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant need not be general
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        with self.store.transaction() as transaction:
            transaction.save_positions(reached)
        super()._batch(pipeline, records, positions)


class SavesPositionsLast(Loop):
    """A mutant: positions are committed after the rows, in a transaction of their own."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant need not be general
        with self.store.transaction() as transaction:
            transaction.emit(pipeline.step(self.decoder.decode(records), transaction))
            transaction.audit(records)
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        with self.store.transaction() as transaction:
            transaction.save_positions(reached)
        positions.update(reached)


def test_another_order_after_the_restart_is_as_good() -> None:
    log = records(3, 24)
    _, points = crash_points(log)
    for at in range(0, len(points), 7):
        world = World(log)
        world.survive(CrashPlan(at=at), other_order=True)
        assert violations(world, world.replayed()) == [], f"killed {points[at]} (effect {at})"


@pytest.mark.parametrize("mutant", [PublishesBeforeCommit, ForgetsOutboxFirst, SavesPositionsFirst, SavesPositionsLast])
def test_a_wrong_order_of_effects_is_caught(mutant: type[Loop]) -> None:
    log = records(0, 24)
    survey = CrashPlan()
    World(log).run(crash=survey, loop=mutant)
    assert any(caught(mutant, log, at) for at in range(len(survey.points)))


def caught(mutant: type[Loop], log: list[Record], at: int) -> bool:
    world = World(log)
    world.survive(CrashPlan(at=at), loop=mutant, other_order=True)
    return bool(violations(world, world.replayed()))
