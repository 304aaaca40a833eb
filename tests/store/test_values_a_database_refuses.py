"""A value that the database cannot hold costs its own record only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record, RefusedValueError
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemorySink, MemorySource
from driftgauge.models.events import Context, Event, Generation, Rejected, Signal
from tests.copying import replace
from tests.pipeline.logs import SETTINGS
from tests.store.examples import response

BAD = 3


class Unchecked(Decoder):
    """Decodes one record to values that the border would refuse."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(encoding="msgpack")
        self.values = values

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        events, counts = super().decode_counted(records)
        return [replace(e, **self.values) if isinstance(e, Generation) and e.id == f"r{BAD}" else e for e in events], (
            counts
        )


def log() -> list[Record]:
    events = [Generation(f"r{i}", 1e9 + i, "law", Context(model="m"), Signal(features=None)) for i in range(8)]
    return [Record("t", 0, i, b"k", encode_generation(event)) for i, event in enumerate(events)]


@pytest.mark.parametrize("values", [{"n_completion_tokens": 2**70}, {"id": "nul\x00" + "x" * 600}])
def test_the_record_becomes_a_dead_letter_and_the_others_are_stored(url: str, values: dict[str, Any]) -> None:
    if "id" in values and url.startswith("sqlite"):
        values = {"id": "\ud800"}  # SQLite holds a NUL; a lone surrogate it cannot
    with closing(open_store(url, topics=Topics(), keep_audit=True)) as store:
        Loop(SETTINGS, Unchecked(values), store, lambda: MemorySource(log()), MemorySink).run()
        (letter,) = store.newest(Rejected, 10)
        assert (letter.reason, letter.offset, letter.value) == ("internal_error", BAD, log()[BAD].value)
        with store.transaction() as memory:
            assert set(memory.responses([f"r{i}" for i in range(8)])) == {f"r{i}" for i in range(8) if i != BAD}
        assert [offset for _, _, offset in store.audit()] == list(range(8))


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_a_character_that_postgresql_cannot_hold_is_the_fault_of_a_record(postgres_url: str) -> None:
    with (
        closing(open_store(postgres_url, topics=Topics())) as store,
        pytest.raises(RefusedValueError, match="NUL"),
        store.transaction() as memory,
    ):
        memory.add_responses([replace(response(1), id="a\x00b")])


def test_a_row_that_contradicts_another_is_the_fault_of_a_record(url: str) -> None:
    with (
        closing(open_store(url, topics=Topics())) as store,
        pytest.raises(RefusedValueError),
        store.transaction() as memory,
    ):
        memory.add_responses([response(1), response(1)])
