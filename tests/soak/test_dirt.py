"""Records as real senders send them become what they must, and the books of the soak notice when they do not."""

from __future__ import annotations

import random

import pytest

from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.testing import MemorySink, MemorySource, MemoryStore
from driftgauge.models.events import Rejected
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START
from tests.soak.dirt import KINDS, PLANTED, Dirt, Kind, problems
from tests.soak.oracle import account_violations

NOW = 1.79e9


def log(kind: Kind) -> list[Record]:
    """Some plantings of one kind, with a repetition now and then, as a producer without idempotence sends."""
    rng = random.Random(3)  # noqa: S311 - no secret
    dirt = Dirt([kind], rng)
    records: list[Record] = []
    for n in range(60):
        for planted in dirt.next(START + n, NOW):
            topic = "labels" if planted.is_label else "generations"
            for _ in range(1 + (rng.random() < 0.1)):
                records.append(Record(topic, 0, len(records), b"k", planted.value, planted.headers, NOW))
    return records


def run(records: list[Record]) -> tuple[Loop, list[Rejected], dict[str, float]]:
    """An agent on these records: its loop, its dead letters, and the labelled values by response id."""
    store = MemoryStore()
    loop = Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: MemorySource(records, max_records=7), MemorySink)
    loop.run()
    correct = {row.id: row.correct for row in store.tables.responses.values()}
    return loop, store.newest(Rejected, 10_000), correct


@pytest.mark.parametrize("kind", KINDS)
def test_planted_records_become_what_they_must(kind: Kind) -> None:
    records = log(kind)
    loop, letters, correct = run(records)
    assert problems(records, letters, correct) == []
    assert account_violations(loop.account, records, letters) == []
    assert letters or kind == "corrections"


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_record_that_became_something_else_is_noticed(kind: Kind) -> None:
    records = log(kind)
    loop, letters, correct = run(records)
    if kind == "corrections":
        assert problems(records, letters, dict.fromkeys(correct, 1.0))
        return
    assert problems(records, letters[1:], correct)
    assert problems(records, [replace(letters[0], reason="internal_error"), *letters[1:]], correct)
    assert account_violations(loop.account, records, letters[1:])
    assert account_violations(loop.account, records[1:], letters)


def test_no_kind_plants_nothing() -> None:
    assert list(Dirt([], random.Random(0)).next(START, NOW)) == []  # noqa: S311 - no secret
    assert all(PLANTED in dict(record.headers) for kind in KINDS for record in log(kind))
