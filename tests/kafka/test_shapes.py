"""Every payload of the fixtures through a real broker and the whole agent, compared with its expected values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pytest
from kafka import KafkaProducer

from driftgauge.agent.service import build
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.arrays import Floats
from driftgauge.models.events import Chunk, Context, Generation, Rejected, Signal
from driftgauge.models.rows import ResponseRow
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.context_guard import is_uninformative
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.in_flight import InFlight
from tests.decode.payloads import SERVERS, Fixture, fixtures
from tests.kafka.agents import running, settings_for, wait_for
from tests.kafka.conftest import everything_in

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("shapes"),  # so that one worker makes the fixtures of this module, once
]

SENT_AT = 1_772_000_000.0
END_OF_TIME = 2_080_000_000.0
EVERYTHING = [fixture for fixture in fixtures() if not fixture.expected.get("only_whole")]
LAST = Generation("the end", END_OF_TIME, "default", Context(model="m"), Signal(chosen_logprobs=np.array([-1.0])))


class Outcome(NamedTuple):
    """What the agent stored and published: rows by response id, and dead letters."""

    rows: dict[str, ResponseRow]
    letters: list[Any]


@pytest.fixture(scope="module")
def outcome(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    settings = settings_for(
        broker, tmp_path_factory.mktemp("shapes"),
        features__min_coverage=0.0, bounds__in_flight_expiry_s=1e7, context__max_fingerprints=1_000,
        windows__max_ahead_s=3.1e8,
    )  # fmt: skip
    topic, letters = settings.kafka.topics.generations[0], settings.kafka.topics.dead_letters
    create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
    n_sent = _fill(broker, topic)
    ids = [response_id for fixture in EVERYTHING for response_id in Direct(fixture).features]
    with running(settings) as agent:
        wait_for(agent, {topic: n_sent}, 120.0)
        with agent.store.transaction() as transaction:
            rows = transaction.responses(ids)
    return Outcome(rows, everything_in(broker, letters))


def _fill(broker: str, topic: str) -> int:
    """Send all records at the time of the payloads, and one much later record, so that responses in pieces expire."""
    end = Record(topic, 0, 0, b"end", encode_generation(LAST, "json"), timestamp=SENT_AT)
    records = [*(record for fixture in EVERYTHING for record in _records(fixture)), end]
    with closing(KafkaProducer(bootstrap_servers=broker)) as producer:
        at_ms = int(SENT_AT * 1000)
        sent: list[Any] = [
            producer.send(topic, record.value, record.key, list(record.headers), partition=0, timestamp_ms=at_ms)
            for record in records
        ]
        producer.flush()
        for future in sent:
            future.get(30)
    return len(records)


def _records(fixture: Fixture) -> list[Record]:
    return [
        Record(r.topic, r.partition, r.offset, r.key, r.value, r.headers, timestamp=SENT_AT) for r in fixture.records()
    ]


class Direct:
    """Features by response id and the number of dead letters, decoded without broker, agent and store."""

    def __init__(self, fixture: Fixture) -> None:
        self.features: dict[str, Floats] = {}
        self.n_letters = 0
        assembly = Assembly(AssemblySettings())
        for event in Decoder().decode(_records(fixture)):
            if isinstance(event, Generation):
                assembly.discard(event.id)
                self._add(event.id, extract([event.signal])[0], is_uninformative(event.signal, event.context))
            elif isinstance(event, Chunk) and event.piece.id not in self.features:
                self._add_all(assembly.completed_by(event))
            self.n_letters += isinstance(event, Rejected)
        left = [*assembly.in_flight.values()]
        self._add_all(response for response in left if response.has_ended)
        self.n_letters += sum(not response.has_ended for response in left)

    def _add_all(self, responses: Iterator[InFlight] | list[InFlight]) -> None:
        for response in responses:
            whole = response.complete()
            self._add(whole.id, response.features(), is_uninformative(whole.signal, whole.context))

    def _add(self, response_id: str, features: Floats, tells_nothing: bool) -> None:
        self.features[response_id] = np.full(DEFAULT_SPEC.width, np.nan) if tells_nothing else features


@pytest.mark.parametrize("server", SERVERS)
def test_the_store_has_each_response_with_the_features_of_direct_decoding(server: str, outcome: Outcome) -> None:
    for fixture in (fixture for fixture in EVERYTHING if fixture.server == server):
        direct = Direct(fixture)
        complete = [choice for choice in fixture.expected["choices"] if choice.get("complete", True)]
        assert len(direct.features) == len(complete), fixture
        for response_id, features in direct.features.items():
            np.testing.assert_array_equal(outcome.rows[response_id].features, features.astype(np.float32), str(fixture))


@pytest.mark.parametrize("server", SERVERS)
def test_the_store_has_the_token_count_and_the_mean_entropy_of_the_fixture(server: str, outcome: Outcome) -> None:
    for fixture in (fixture for fixture in EVERYTHING if fixture.server == server):
        complete = [choice for choice in fixture.expected["choices"] if choice.get("complete", True)]
        for response_id, choice in zip(Direct(fixture).features, complete, strict=True):
            row = outcome.rows[response_id]
            n = choice["n_logprobs"] + choice["n_censored"] + choice["n_missing"]
            assert n == 0 or row.n_tokens == n, fixture
            if choice["mean_entropy"] is not None and not np.isnan(row.features).all():
                assert row.features[0] == pytest.approx(choice["mean_entropy"], abs=2e-5), fixture


@pytest.mark.parametrize("server", SERVERS)
def test_every_unusable_payload_of_the_fixtures_is_a_dead_letter(server: str, outcome: Outcome) -> None:
    for fixture in (fixture for fixture in EVERYTHING if fixture.server == server):
        broken_off = sum(not choice.get("complete", True) for choice in fixture.expected["choices"])
        ids = {
            str(fixture).encode(),
            *(choice["id"].encode() for choice in fixture.expected["choices"] if choice["id"]),
        }
        letters = [letter for letter in outcome.letters if letter.key in ids]
        assert len(letters) == fixture.expected.get("rejected", 0) + broken_off, fixture
        assert len(letters) == Direct(fixture).n_letters


def test_no_usable_payload_of_the_fixtures_is_a_dead_letter(outcome: Outcome) -> None:
    assert len(outcome.letters) == sum(Direct(fixture).n_letters for fixture in EVERYTHING)
