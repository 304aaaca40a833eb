"""An agent that reads what extractors publish ends as one that reads the raw records: same state, same outputs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reader_pool import PoolDecoder
from driftgauge.connectors.base import Record, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.connectors.testing import CrashPlan
from driftgauge.models.events import Arrival, Chunk, Event, Generation
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Output
from tests.copying import replace
from tests.crash.agents import World, records, survivors
from tests.decode.payloads import fixtures
from tests.pipeline.logs import CROWDED, SETTINGS, make_colliding_log, make_log, make_roaming_log

FEATURES = "features"
Maker = Callable[[int, int], list[Event]]


def extractor(settings: PipelineSettings, encoding: Any = "msgpack") -> RecordExtractor:
    return RecordExtractor(Decoder(encoding=encoding), settings.features, settings.min_coverage)


def published(log: list[Record], topics: set[str], by: RecordExtractor, *, repeats: float = 0.0) -> list[Record]:
    """The log with what extractors publish in the place of the records of these topics.

    Now and then an extractor starts over some records back, as after a crash or when partitions move; and one that was
    paused goes on later with what it had in hand.
    """
    chance, offsets = random.Random(0), Counter[int]()  # noqa: S311 - reproducible
    before: dict[TopicPartition, list[bytes]] = {}
    found: list[Record] = []
    in_hand: list[tuple[int, bytes]] = []

    def append(partition: int, value: bytes) -> None:
        found.append(Record(FEATURES, partition, offsets[partition], b"k", value, (), 1.8e9))
        offsets[partition] += 1

    for record in log:
        if record.topic not in topics:
            found.append(record)
            continue
        ((_, message),) = by.extract([record], FEATURES, 100)
        runs = before.setdefault(TopicPartition(record.topic, record.partition), [])
        runs.append(message.value)
        again = runs[-chance.randint(2, 9) :] if chance.random() < repeats else runs[-1:]
        for value in again:
            append(record.partition, value)
        if chance.random() < repeats:
            in_hand += [(record.partition, value) for value in runs[-chance.randint(2, 9) :]]
        elif in_hand and chance.random() < 0.5:
            append(*in_hand.pop(0))
    return found


def reading(log: list[Record], settings: PipelineSettings) -> World:
    decoder = Decoder(encoding="msgpack", features_topic=FEATURES, features=settings.features)
    return World(log, settings, decoder=decoder)


def memory(world: World) -> dict[str, object]:
    """All that the agent remembers but for where it read it."""
    found = world.remembered()
    del found["positions"], found["audit"]
    return found


def outputs(world: World) -> Counter[object]:
    """All published messages. A letter of the core holds the response as it came, of which only features are left."""
    return Counter(_content(message) for message in world.published)


def _content(message: Any) -> object:
    headers = dict(message.headers)
    reason = headers.get("driftgauge-reason")
    if reason in (b"id_conflict", b"event_time_ahead"):
        return message.topic, message.key, reason, headers["driftgauge-detail"]
    return message.topic, message.key, message.value, tuple(sorted(headers.items()))


LOGS = pytest.mark.parametrize(
    ("make", "settings"),
    [(make_log, SETTINGS), (make_colliding_log, SETTINGS), (make_roaming_log, CROWDED)],
    ids=["usual", "colliding", "roaming"],
)


@LOGS
@pytest.mark.parametrize("topics", [{"generations"}, {"generations", "labels"}], ids=["responses", "all"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_topic_of_features_gives_the_results_of_the_raw_records(
    make: Maker, settings: PipelineSettings, topics: set[str], seed: int
) -> None:
    log = records(seed, 90, make)
    direct, through = World(log, settings), reading(published(log, topics, extractor(settings), repeats=0.1), settings)
    direct.run()
    through.run()
    assert len(through.log) > len(log)
    assert memory(through) == memory(direct)
    assert outputs(through) == outputs(direct)
    raw = {place: at for place, at in through.tables.positions.items() if place.topic != FEATURES}
    assert raw == direct.tables.positions


def test_an_agent_with_readers_gives_the_same() -> None:
    log = records(4, 60)
    direct, through = World(log), reading(published(log, {"generations"}, extractor(SETTINGS), repeats=0.2), SETTINGS)
    direct.run()
    reader = replace(extractor(SETTINGS), decoder=through.decoder)
    pooled = World(reader.decode(through.log), decoder=PoolDecoder())  # type: ignore[arg-type]
    pooled.run()
    assert memory(pooled) == memory(direct)
    assert outputs(pooled) == outputs(direct)


def whole_responses(seed: int, n_responses: int) -> list[Event]:
    return [event for event in make_log(seed, n_responses) if not isinstance(event, Chunk)]


@pytest.mark.parametrize("at", [0, 1, 40, 90])
def test_an_agent_may_change_from_raw_records_to_features_and_back(at: int) -> None:
    log = records(5, 80, whole_responses)
    direct = World(log)
    direct.run()
    changing = World(log[:at])
    changing.run()
    middle = reading(published(log, {"generations"}, extractor(SETTINGS))[: at + 40], SETTINGS)
    middle.tables, middle.published = changing.tables, changing.published
    middle.run()
    back = World(log, tables=middle.tables, published=middle.published)
    back.run()
    # the end of each log ends windows and labels that wait, so what was learned by then differs
    assert {name: row.features.tobytes() for name, row in back.tables.responses.items()} == {
        name: row.features.tobytes() for name, row in direct.tables.responses.items()
    }
    assert back.tables.positions.items() >= direct.tables.positions.items()


def test_every_fixture_gives_the_same_through_extractors() -> None:
    log = [
        replace(record, offset=at, timestamp=1.7e9 + at)
        for at, record in enumerate(record for fixture in fixtures() for record in fixture.records())
    ]
    direct = World(log, decoder=Decoder())
    through = reading(published(log, {"generations"}, extractor(SETTINGS, "json"), repeats=0.1), SETTINGS)
    accounts = []
    for world in (direct, through):
        Counting.loops.clear()
        world.run(loop=Counting)
        (loop,) = Counting.loops
        accounts.append(loop.account)
    assert memory(through) == memory(direct)
    assert outputs(through) == outputs(direct)
    assert accounts[0] == accounts[1]
    assert accounts[0].tombstones
    assert accounts[0].n_dead


class Counting(Loop):
    """A loop whose account can be looked at."""

    loops: ClassVar[list[Loop]] = []

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.loops.append(self)


def test_an_agent_that_dies_anywhere_counts_a_repeated_record_once() -> None:
    log = records(6, 12)
    features = published(log, {"generations"}, extractor(SETTINGS), repeats=0.5)
    direct, straight, survey = World(log), reading(features, SETTINGS), CrashPlan()
    direct.run()
    straight.run(crash=survey)
    for at, world in survivors(lambda: reading(features, SETTINGS), len(survey.points)):
        assert memory(world) == memory(direct), survey.points[at]
        assert set(world.contents()) == set(straight.contents()), survey.points[at]


def test_a_record_that_the_core_cannot_apply_does_not_hold_up_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = records(7, 20)
    features = published(log, {"generations"}, extractor(SETTINGS), repeats=0.3)
    direct, through = World(log), reading(features, SETTINGS)
    whole = Pipeline.step

    def failing(self: Pipeline, events: Sequence[Event], memory: Memory) -> list[Output]:
        if any(isinstance(one, Generation | Arrival) and _id(one) == "r5" for one in events):
            raise ZeroDivisionError
        return whole(self, events, memory)

    monkeypatch.setattr(Pipeline, "step", failing)
    direct.run()
    through.run()
    assert memory(through)["rows"] == memory(direct)["rows"]
    letters = [m for m in through.published if dict(m.headers).get("driftgauge-reason") == b"internal_error"]
    assert len(letters) == 1


def _id(event: Generation | Arrival) -> str:
    return event.generation.id if isinstance(event, Arrival) else event.id
