"""A record that makes the agent fail becomes one dead letter; a failure that every record meets stops the agent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from driftgauge.agent.core.state import STREAM
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reader_pool import PoolDecoder, dead_letter_of
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import parse
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.connectors.internal_errors import MAX_IN_A_ROW
from driftgauge.connectors.testing import CrashPlan, MemorySink, MemorySource, MemoryStore
from driftgauge.models.events import Arrival, Event, Generation, Label, Rejected
from tests.copying import replace
from tests.crash.agents import World, records, survivors
from tests.crash.test_every_effect import crash_points, violations
from tests.pipeline.logs import SETTINGS

POISON = (3, 4, 13)
"""Places in the log of the records that the core cannot apply, two of them in a row."""


class Unapplicable(str):
    """Text on which the core fails: it cannot be encoded, so it has no hash and no fingerprint."""

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise OverflowError("quotes the payload: secret")

    def __hash__(self) -> int:
        raise OverflowError("quotes the payload: secret")


class PoisonDecoder(Decoder):
    """Decodes a record whose key is ``poison`` to an event that makes the step fail, ``undecodable`` not at all."""

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        if any(record.key == b"undecodable" for record in records):
            raise ZeroDivisionError("quotes the payload: secret")
        events, counts = super().decode_counted(records)
        poisoned = iter([record.key == b"poison" for record, n in zip(records, counts, strict=True) for _ in range(n)])
        return [_poisoned(event) if next(poisoned) else event for event in events], counts


def _poisoned(event: Event) -> Event:
    if isinstance(event, Generation):  # the core fails on the domain after it took the time and the context
        return replace(event, domain=Unapplicable(event.domain))
    assert isinstance(event, Label)
    return replace(event, response_id=Unapplicable(event.response_id))


@dataclass
class PoisonedWorld(World):
    """A world whose agents fail on some records."""

    decoder: Decoder = field(default_factory=lambda: PoisonDecoder(encoding="msgpack"))


def poisoned_log(seed: int, key: bytes, n_responses: int = 24) -> list[Record]:
    log = records(seed, n_responses)
    whole = [at for at, record in enumerate(log) if record.value and record.value != b"garbage" and is_whole(record)]
    for n in POISON:
        log[whole[n]] = replace(log[whole[n]], key=key)
    return log


def is_whole(record: Record) -> bool:
    assert record.value is not None
    return type(parse(record.value, "msgpack")).__name__ in ("GenerationEvent", "LabelEvent")


def without_counters(world: World) -> dict[str, object]:
    """The saved state without the counters, in which a dead letter has its reason."""
    stream: list[Any] = STREAM.unpack(world.tables.state["stream"])
    return {**world.tables.state, "stream": [part for n, part in enumerate(stream) if n != 1]}


def dead(world: World) -> list[Rejected]:
    return [letter for letter in world.tables.outputs["dead_letters"].values() if letter.reason == "internal_error"]


@pytest.mark.parametrize(("key", "where"), [(b"poison", "OverflowError"), (b"undecodable", "ZeroDivisionError")])
def test_a_record_on_which_the_agent_fails_becomes_a_dead_letter_with_its_bytes(
    key: bytes, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = poisoned_log(0, key)
    world = PoisonedWorld(log)
    world.run()
    letters = dead(world)
    planted = [record for record in log if record.key == key]
    assert [(x.topic, x.partition, x.offset, x.value) for x in letters] == [
        (r.topic, r.partition, r.offset, r.value) for r in planted
    ]
    assert all(x.detail.startswith(where) and "secret" not in x.detail for x in letters)
    tracebacks = [line.exc_info[0] for line in caplog.records if line.levelno == logging.ERROR and line.exc_info]
    assert {kind.__name__ for kind in tracebacks if kind} == {where}
    assert len(tracebacks) <= len(planted)
    healthy = World([record if record.key != key else replace(record, value=b"garbage") for record in log])
    healthy.run()
    assert set(world.tables.responses) == set(healthy.tables.responses)
    assert world.tables.labels == healthy.tables.labels
    assert world.tables.positions == healthy.tables.positions
    assert without_counters(world) == without_counters(healthy)


@pytest.mark.parametrize("max_records", [1, 3, 1_000])
def test_the_size_of_batches_does_not_change_what_becomes_a_dead_letter(max_records: int) -> None:
    log = poisoned_log(1, b"poison")
    one, other = PoisonedWorld(log), PoisonedWorld(log)
    one.run(max_records=7)
    other.run(max_records=max_records)
    assert one.remembered() == other.remembered()
    assert one.contents() == other.contents()


@pytest.mark.parametrize("key", [b"poison", b"undecodable"])
def test_an_agent_that_dies_while_it_isolates_a_record_reaches_the_same_state_and_outputs(key: bytes) -> None:
    log = poisoned_log(2, key, n_responses=9)  # two batches, each with poison
    straight, survey = PoisonedWorld(log), CrashPlan()
    straight.run(crash=survey)
    assert len(dead(straight)) == len(POISON)
    for at, world in survivors(lambda: PoisonedWorld(log), len(survey.points)):
        assert violations(world, straight) == [], f"killed {survey.points[at]} (effect {at})"


def test_a_failure_that_every_record_meets_stops_the_agent() -> None:
    log = [replace(record, key=b"poison") for record in records(0, 24) if record.value and record.value != b"garbage"]
    log = [record for record in log if is_whole(record)]
    world = PoisonedWorld(log)
    with pytest.raises(OverflowError):
        world.run()
    assert len(dead(world)) == MAX_IN_A_ROW - 1
    assert not world.tables.responses


def test_garbage_between_failures_does_not_hide_that_every_usable_record_fails() -> None:
    whole = [record for record in records(0, 24) if record.value and record.value != b"garbage" and is_whole(record)]
    log = [
        Record("t", 0, offset, b"poison", whole[offset // 2].value if offset % 2 else b"garbage")
        for offset in range(2 * len(whole))
    ]
    world = PoisonedWorld(log)
    with pytest.raises(OverflowError):
        world.run()
    assert len(dead(world)) == MAX_IN_A_ROW - 1


def test_a_connection_that_fails_is_never_the_fault_of_a_record() -> None:
    class Away(MemoryStore):
        def transaction(self) -> Any:
            raise ConnectorError("the database is away", retriable=False)

    log = records(0, 24)
    loop = Loop(SETTINGS, Decoder(encoding="msgpack"), Away(), lambda: MemorySource(log), MemorySink)
    with pytest.raises(ConnectorError, match="away"):
        loop.run()


def extractor() -> RecordExtractor:
    return RecordExtractor(PoisonDecoder(encoding="msgpack"))


def test_a_reader_rejects_the_record_on_which_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    log = poisoned_log(0, b"undecodable")
    decoded = extractor().decode(log)
    failed = [event for record in decoded for event in record.events if _is_internal(event)]
    assert [(r.offset, r.value) for r in failed if isinstance(r, Rejected)] == [
        (r.offset, r.value) for r in log if r.key == b"undecodable"
    ]
    healthy = extractor().decode([record for record in log if record.key != b"undecodable"])
    assert [len(r.events) for r in decoded if not any(map(_is_internal, r.events))] == [len(r.events) for r in healthy]
    assert any(line.levelno == logging.ERROR and line.exc_info for line in caplog.records)


def _is_internal(event: Event) -> bool:
    return isinstance(event, Rejected) and event.reason == "internal_error"


def test_a_reader_that_fails_on_every_record_ends_with_an_error() -> None:
    log = [replace(record, key=b"undecodable") for record in records(0, 24)]
    with pytest.raises(ConnectorError, match="ZeroDivisionError") as raised:
        extractor().decode(log)
    assert not raised.value.retriable


def test_the_dead_letter_of_a_record_from_a_reader_holds_its_event() -> None:
    log = [record for record in records(0, 24) if record.topic == "generations" and record.value]
    response = next(record for record in log if record.value != b"garbage" and is_whole(record))
    (record,) = extractor().decode([response])
    letter = dead_letter_of(record, Rejected("internal_error", "", record.topic, record.partition, record.offset))
    assert letter.value
    (event,) = Decoder(encoding="msgpack").decode([replace(response, value=letter.value)])
    (arrival,) = PoolDecoder().decode([record])
    assert isinstance(event, Generation)
    assert isinstance(arrival, Arrival)
    assert event.id == arrival.generation.id


def test_the_points_of_a_log_without_poison_stay_what_they_were() -> None:
    log = records(0, 24)
    _, points = crash_points(log)
    survey = CrashPlan()
    PoisonedWorld(log).run(crash=survey)
    assert survey.points == points
