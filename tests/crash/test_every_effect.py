"""Law 2: killed at any effect and started again, the agent reaches the same final state and outputs.

Every poll, transaction, write, publication, acknowledgement and commit is an effect; the process dies just before or
just after each of them, one run per point. The oracle is an uninterrupted run over the records in the order in which
they were applied. This is the order of the log, unless a broker delivers another order after the restart.
"""

from __future__ import annotations

import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record, Sink, TopicPartition
from driftgauge.connectors.testing import CrashPlan
from tests.crash.agents import World, records, survivors
from tests.pipeline.logs import CROWDED, SETTINGS, make_colliding_log, make_roaming_log

SEEDS = range(3)


def violations(world: World, straight: World) -> list[str]:
    """Differences between a world in which agents died and the oracle."""
    found = []
    if world.remembered() != straight.remembered():
        found.append("the final state differs")
    if set(world.contents()) != set(straight.contents()):
        found.append("the set of outputs differs")
    if world.names_with_two_contents():
        found.append("two contents were published under one name")
    if world.tables.outbox:
        found.append("the outbox is not empty")
    per_partition: dict[tuple[str, int], list[int]] = {}
    for topic, partition, offset in world.audit:
        per_partition.setdefault((topic, partition), []).append(offset)
    if any(offsets != list(range(len(offsets))) for offsets in per_partition.values()):
        found.append("a record was applied twice, or not, or out of order")
    return found


def crash_points(log: list[Record], settings: PipelineSettings = SETTINGS) -> tuple[World, list[str]]:
    straight, survey = World(log, settings), CrashPlan()
    straight.run(crash=survey)
    return straight, survey.points


@pytest.mark.parametrize(
    ("log", "settings"),
    [
        *((records(seed, 24), SETTINGS) for seed in SEEDS),
        (records(0, 40, make_colliding_log), SETTINGS),
        (records(1, 12, make_roaming_log), CROWDED),
    ],
    ids=[*map(str, SEEDS), "colliding", "roaming"],
)
def test_an_agent_that_dies_at_any_effect_reaches_the_same_state_and_outputs(
    log: list[Record], settings: PipelineSettings
) -> None:
    straight, points = crash_points(log, settings)
    assert {p.split()[-1] for p in points} >= {"poll", "begin", "commit", "publish", "acknowledge"}
    assert violations(straight, straight) == []
    for at, world in survivors(lambda: World(log, settings), len(points)):
        assert violations(world, straight) == [], f"killed {points[at]} (effect {at})"


def test_the_size_of_batches_does_not_change_state_and_published_messages() -> None:
    log = records(7, 80)
    one, many = World(log), World(log)
    one.run(max_records=10_000)
    many.run(max_records=3)
    assert one.contents() == many.contents()
    assert one.remembered() == many.remembered()


class PublishesBeforeCommit(Loop):
    """A mutant: outputs are published before the transaction that made them is committed."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant is less general
        sink = self.open_sink()
        with self.store.transaction() as transaction:
            outputs = pipeline.step(self.decoder.decode_counted(records)[0], transaction)
            before = len(self.store.outbox(10_000))
            transaction.save_positions({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})
            transaction.audit(records)
            transaction.emit(outputs)
            sink.publish(self.store.outbox(10_000)[before:])
        positions.update({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})


class RemovesFromOutboxFirst(Loop):
    """A mutant: messages are removed from the outbox before they are published."""

    def _publish(self, sink: Sink) -> None:
        while messages := self.store.outbox(1_000):
            self.store.acknowledge(messages[-1].seq)
            sink.publish(messages)


class SavesPositionsFirst(Loop):
    """A mutant: positions are committed before the rows."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant is less general
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        with self.store.transaction() as transaction:
            transaction.save_positions(reached)
        super()._batch(pipeline, records, positions)


class SavesPositionsLast(Loop):
    """A mutant: positions are committed after the rows, in a transaction of their own."""

    def _batch(self, pipeline: Pipeline, records: list[Record], positions: dict[TopicPartition, int]) -> None:  # type: ignore[override]  # a mutant is less general
        with self.store.transaction() as transaction:
            transaction.emit(pipeline.step(self.decoder.decode_counted(records)[0], transaction))
            transaction.audit(records)
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        with self.store.transaction() as transaction:
            transaction.save_positions(reached)
        positions.update(reached)


def test_an_agent_that_reads_in_another_order_after_a_restart_equals_one_that_read_in_that_order() -> None:
    log = records(3, 24)
    _, points = crash_points(log)
    for at in range(0, len(points), 7):
        world = World(log)
        world.die(CrashPlan(at=at))
        world.restart(other_order=True)
        assert violations(world, world.replayed()) == [], f"killed {points[at]} (effect {at})"


@pytest.mark.parametrize(
    "mutant", [PublishesBeforeCommit, RemovesFromOutboxFirst, SavesPositionsFirst, SavesPositionsLast]
)
def test_an_agent_with_a_wrong_order_of_effects_fails_these_tests(mutant: type[Loop]) -> None:
    log = records(0, 24)
    survey = CrashPlan()
    World(log).run(crash=survey, loop=mutant)
    worlds = survivors(lambda: World(log), len(survey.points), loop=mutant, other_order=True)
    assert any(violations(world, world.replayed()) for _, world in worlds)
