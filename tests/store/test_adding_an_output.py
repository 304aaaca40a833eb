"""A new kind of output is a record and one entry in the table of kinds; everything else follows from the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema
import pytest
import yaml

from driftgauge.connectors.publishing.contract import documents
from driftgauge.connectors.publishing.encode import Topics, encode
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS, OutputKind
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import output_table
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.store.conftest import Opener


@dataclass(frozen=True, slots=True)
class Digest:
    """A toy output: what was seen of a domain up to some time. It has a field of every type that has a column."""

    domain: str
    event_time: float
    revision: int
    share: float | None
    is_partial: bool
    checksum: bytes | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    slices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The domain and the time."""
        return f"{self.domain}/{self.event_time:.0f}"


ENTRY = OutputKind(
    record=Digest,
    name="digest",
    event_type="driftgauge.digest.made.v1",
    topic="digests",
    default_topic="driftgauge.digests",
    key_description="domain/event time",
    event_id=lambda digest: f"{digest.key}@{digest.revision}",
    event_time="event_time",
    headers={"driftgauge-domain": lambda digest: digest.domain},
    table="digests",
    newest_by="revision",
    indexes={"digests_by_time": ("event_time",)},
)
DIGEST: Any = Digest("law", 60.0, 1, 0.5, is_partial=True, shares={"de": 0.25}, slices=("de", "fr"))


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(OUTPUT_KINDS, Digest, ENTRY)
    yield
    schema.METADATA.remove(output_table(Digest))


@pytest.mark.usefixtures("entry")
def test_a_new_output_is_encoded_as_its_entry_says() -> None:
    message = encode(replace(DIGEST, checksum=b"\x01"), Topics(), "gauge/eu", epoch=4)
    assert (message.topic, message.key) == ("driftgauge.digests", b"law/60")
    assert {name: value.decode() for name, value in message.headers} == {
        "ce_specversion": "1.0",
        "ce_id": "law/60@1",
        "ce_source": "gauge/eu",
        "ce_type": "driftgauge.digest.made.v1",
        "ce_time": "1970-01-01T00:01:00Z",
        "driftgauge-epoch": "4",
        "driftgauge-domain": "law",
        "content-type": "application/json",
    }
    assert json.loads(message.value) == {
        "domain": "law",
        "event_time": "1970-01-01T00:01:00Z",
        "revision": 1,
        "share": 0.5,
        "is_partial": True,
        "checksum": "AQ==",
        "shares": {"de": 0.25},
        "slices": ["de", "fr"],
    }


@pytest.mark.usefixtures("entry")
def test_the_contract_describes_a_new_output() -> None:
    digest = json.loads(documents()["schemas/digest.json"])
    assert digest["title"] == "driftgauge.digest.made.v1"
    unknown = replace(DIGEST, share=None, shares={"de": math.nan})
    for output in (DIGEST, unknown):
        jsonschema.validate(json.loads(encode(output, Topics(), "a", 1).value), digest)
    described = yaml.safe_load(documents()["asyncapi.yaml"])
    assert described["channels"]["digests"]["address"] == "driftgauge.digests"
    assert described["channels"]["digests"]["messages"]["digest"]["payload"] == {"$ref": "./schemas/digest.json"}
    assert "driftgauge-domain" in described["components"]["schemas"]["digest"]["required"]
    assert described["operations"]["digests"]["action"] == "send"


@pytest.mark.usefixtures("entry")
def test_every_store_returns_a_new_output_as_it_was_emitted(opener: Opener) -> None:
    store = opener()
    outputs = [DIGEST, replace(DIGEST, event_time=120.0, share=None, is_partial=False, checksum=b"\x00\xff")]
    with store.transaction() as memory:
        memory.emit(outputs)
    assert [message.key for message in store.outbox(10)] == [b"law/60", b"law/120"]
    assert store.newest(Digest, 10) == outputs[::-1]
    assert store.newest(Digest, 1) == outputs[1:]


@pytest.mark.usefixtures("entry")
def test_every_store_keeps_the_highest_revision_of_a_new_output(opener: Opener) -> None:
    store = opener()
    second = replace(DIGEST, revision=2, share=0.75)
    with store.transaction() as memory:
        memory.emit([second, DIGEST])
    assert store.newest(Digest, 10) == [second]


@pytest.mark.usefixtures("entry")
def test_an_unknown_number_of_a_new_output_stays_unknown(opener: Opener) -> None:
    store = opener()
    with store.transaction() as memory:
        memory.emit([replace(DIGEST, shares={"de": math.nan, "fr": 0.5})])
    (found,) = store.newest(Digest, 10)
    assert math.isnan(found.shares["de"])
    assert found.shares["fr"] == 0.5


@pytest.mark.usefixtures("entry")
def test_retention_deletes_a_new_output_by_its_event_time(opener: Opener) -> None:
    store = opener()
    with store.transaction() as memory:
        memory.emit([replace(DIGEST, event_time=float(time)) for time in (10, 20, 30)])
    store.expire(30.0, 1)
    assert [digest.event_time for digest in store.newest(Digest, 10)] == [30.0, 20.0]
    store.expire(30.0, 10)
    assert [digest.event_time for digest in store.newest(Digest, 10)] == [30.0]


def test_a_store_that_exists_takes_a_new_output(url: str, request: pytest.FixtureRequest) -> None:
    open_store(url, topics=Topics()).close()
    request.getfixturevalue("entry")
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as memory:
        memory.emit([DIGEST])
    with closing(open_queries(url)) as queries:
        assert queries.newest(Digest, 10) == [DIGEST]
