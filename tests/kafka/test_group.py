"""Members of a consumer group: whatever makes partitions move, only what was not committed comes again."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

import pytest
from kafka import TopicPartition as ClientPartition

from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.group import KafkaGroup
from tests.deadline import until
from tests.kafka.conftest import NewTopic, fill

pytestmark = pytest.mark.kafka
N_PARTITIONS, N_RECORDS = 4, 30
Join: TypeAlias = Callable[..., KafkaGroup]


@pytest.fixture
def topic(new_topic: NewTopic, producer: Any) -> str:
    made = new_topic(partitions=N_PARTITIONS)
    for partition in range(N_PARTITIONS):
        fill(producer, made, [b"%d/%d" % (partition, i) for i in range(N_RECORDS)], partition)
    return made


@pytest.fixture
def join(connection: KafkaConnection, topic: str) -> Iterator[Join]:
    """Open a member of a group that only this test uses."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:

        def joined(**more: Any) -> KafkaGroup:
            given = {"group_id": name, "session_timeout_s": 60.0, "max_records": 7, **more}
            group = stack.enter_context(closing(KafkaGroup(connection, [topic], **given)))
            group.open()
            return group

        yield joined


def work(*members: KafkaGroup, seen: list[Record], until_all: bool = True) -> None:
    """Let members poll and commit in turns until every record was seen, or until each member has partitions."""

    def is_done() -> bool:
        for member in members:
            records = member.poll(0.1)
            seen.extend(records)
            member.commit(after(records))
        if until_all:
            return len(places(seen)) == N_PARTITIONS * N_RECORDS
        return all(member.assigned() for member in members) and are_disjoint(members)

    until(is_done, 300.0)


def first_of(member: KafkaGroup) -> list[Record]:
    """The first records that come."""
    found: list[Record] = []

    def has_some() -> bool:
        found.extend(member.poll(0.1))
        return bool(found)

    until(has_some)
    return found


def alone(member: KafkaGroup) -> list[Record]:
    """What comes until all partitions belong to this member."""
    found: list[Record] = []

    def has_all() -> bool:
        found.extend(member.poll(0.1))
        return len(member.assigned()) == N_PARTITIONS

    until(has_all)
    return found


def are_disjoint(members: tuple[KafkaGroup, ...]) -> bool:
    owned = [place for member in members for place in member.assigned()]
    return len(owned) == N_PARTITIONS == len(set(owned))


def after(records: list[Record]) -> dict[TopicPartition, int]:
    return {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}


def places(records: list[Record]) -> Counter[tuple[int, int]]:
    return Counter((record.partition, record.offset) for record in records)


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_members_share_the_partitions_and_one_that_leaves_hands_its_over(join: Join, rebalance: str) -> None:
    seen: list[Record] = []
    first, second = join(rebalance=rebalance), join(rebalance=rebalance)
    work(first, second, seen=seen, until_all=False)
    first.close()
    work(second, seen=seen)
    assert set(places(seen).values()) == {1}
    for partition in range(N_PARTITIONS):
        assert [r.offset for r in seen if r.partition == partition] == list(range(N_RECORDS))


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_a_member_that_joins_takes_partitions_over_and_nothing_comes_twice(join: Join, rebalance: str) -> None:
    seen: list[Record] = []
    first = join(rebalance=rebalance)
    seen += alone(first)
    first.commit(after(seen))
    second = join(rebalance=rebalance)
    work(first, second, seen=seen, until_all=False)
    work(first, second, seen=seen)
    assert set(places(seen).values()) == {1}


def test_a_join_that_ends_between_two_polls_counts(join: Join) -> None:
    """The first member leads the group: if it joined once more, all others would have to."""
    first = join(rebalance="eager")
    alone(first)
    second = join(rebalance="eager")
    work(first, second, seen=[], until_all=False)
    third = join(rebalance="eager")
    poll_until(lambda: is_joining(first), third, first)
    poll_until(third.assigned, second, third)  # then the broker has answered all three
    poll_until(lambda: not is_joining(first), first)


def poll_until(is_true: Callable[[], object], *members: KafkaGroup) -> None:
    def is_done() -> object:
        for member in members:
            member.poll(0.1)
        return is_true()

    until(is_done)


def is_joining(member: KafkaGroup) -> bool:
    return bool(member._consumer._coordinator.rejoining)


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_a_member_that_was_away_for_too_long_cannot_commit_and_its_records_come_again(
    join: Join, rebalance: str
) -> None:
    slow, seen = join(rebalance=rebalance, max_poll_interval_s=1.0), list[Record]()
    held: list[Record] = []
    held += first_of(slow)
    other = join(rebalance=rebalance)
    work(other, seen=seen)  # the slow one polls no more, so that its partitions move
    assert not slow.commit(after(held))
    assert places(seen) >= places(held)
    assert set(places(seen).values()) == {1}


def test_a_member_under_a_fixed_name_goes_on_where_it_was(join: Join) -> None:
    member = join(member_id="extractor-1")
    seen = first_of(member)
    member.commit(after(seen))
    member.close()
    again = join(member_id="extractor-1")
    work(again, seen=seen)
    assert set(places(seen).values()) == {1}


def test_what_was_not_committed_comes_again(join: Join) -> None:
    first, seen = join(), list[Record]()
    lost = first_of(first)
    first.close()
    work(join(), seen=seen)
    assert places(seen) >= places(lost)


def test_the_lag_falls_to_zero(join: Join) -> None:
    member = join()
    seen = first_of(member)
    assert sum(member.lag().values()) > 0
    work(member, seen=seen)
    assert sum(member.lag().values()) == 0


@pytest.mark.parametrize("on_lost", ["fail", "earliest"])
def test_records_that_were_deleted_unread_are_an_error_or_counted(
    join: Join, topic: str, admin: Any, on_lost: str
) -> None:
    seen: list[Record] = []
    first = join()
    seen += alone(first)
    first.commit({TopicPartition(topic, partition): 0 for partition in range(N_PARTITIONS)})
    first.close()
    admin.delete_records({ClientPartition(topic, 0): 10})
    member = join(on_lost=on_lost)

    def is_done() -> bool:
        seen.extend(member.poll(0.1))
        return member.stats.lost_records > 0

    if on_lost == "fail":
        with pytest.raises(ConnectorError, match=f"10 records of {topic}/0 were deleted"):
            until(is_done)
    else:
        until(is_done)
        assert member.stats.lost_records == 10


def test_a_topic_that_does_not_exist_is_named(connection: KafkaConnection) -> None:
    with (
        closing(KafkaGroup(connection, ["t-nowhere"], group_id="g")) as group,
        pytest.raises(ConnectorError, match="t-nowhere does not exist"),
    ):
        group.open()
