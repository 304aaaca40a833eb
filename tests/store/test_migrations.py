"""Stores of older schema versions are brought up to date, and nothing that they hold is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.database import parse, writer_engine
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Chunk, Context, Generation, Signal
from tests.pipeline.stepping import SETTINGS, T0, label, response
from tests.store.examples import alert

STORES = Path(__file__).parent / "stores"
"""What the code of that schema version wrote, by ``sqlite3 .dump``: three responses, a label that came after its
response, one that came before, one that is pending, and a response of which one piece came."""


_WITHOUT_LIVES = (
    "DROP TABLE silences",
    "DROP INDEX alerts_by_number",
    *(
        f"ALTER TABLE alerts DROP COLUMN {name}"
        for name in ("state", "began", "slice", "n", "rows", "link", "inhibited_by")
    ),
)
"""From version 5 to version 4."""


def old_store(version: int, folder: Path) -> str:
    path = folder / "gauge.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((STORES / f"schema_{version}.sql").read_text())
    return f"sqlite:///{path}"


@pytest.fixture(params=[1])
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(old_store(request.param, tmp_path), topics=Topics())) as store:
        yield store


@pytest.mark.parametrize("version", [1])
def test_an_old_store_is_not_read_before_an_agent_has_brought_it_up_to_date(version: int, tmp_path: Path) -> None:
    url = old_store(version, tmp_path)
    with pytest.raises(ConnectorError, match=f"older schema version {version}"):
        open_queries(url)
    open_store(url, topics=Topics()).close()
    open_queries(url).close()


def test_what_an_old_store_holds_is_still_there(migrated: SqlStore) -> None:
    with migrated.transaction() as memory:
        rows = memory.responses(["r0", "r1", "r8"])
        assert {name: repr(float(row.correct)) for name, row in rows.items()} == {"r0": "1.0", "r1": "nan", "r8": "0.0"}
        assert memory.labels(["r77"]) == {"r77": [label("waits", 77, 1.0)]}
        assert memory.labels_of_topic("labels", 9) == []
        memory.add_labels([label("new", 1, 1.0, topic="labels")])
        assert memory.labels_of_topic("labels", 9) == [label("new", 1, 1.0)]
        assert memory.aliases(["r0"]) == {}
        memory.add_aliases([Alias("ticket-1", "r0", T0)])
        assert memory.aliases(["ticket-1"]) == {"ticket-1": Alias("ticket-1", "r0", T0)}


def test_tables_and_columns_that_version_1_lacks_are_added_on_every_database(url: str) -> None:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as memory:
        memory.add_labels([label("old", 0, 1.0, topic="forgotten")])
    engine = writer_engine(parse(url), "normal")
    with engine.begin() as connection:
        for step in (
            "DROP INDEX labels_by_topic",
            "ALTER TABLE labels DROP COLUMN topic",
            "ALTER TABLE labels DROP COLUMN source",
            "DROP TABLE aliases",
            "DROP TABLE stale_windows",
            *_WITHOUT_LIVES,
            "UPDATE meta SET value = 1 WHERE name = 'schema_version'",
        ):
            connection.execute(text(step))
    engine.dispose()
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as memory:
        memory.add_aliases([Alias("ticket-1", "r0", T0)])
        memory.add_labels([label("new", 0, 1.0, topic="labels", source="thumbs")])
        assert memory.labels_of_topic("labels", 9) == [label("new", 0, 1.0, source="thumbs")]
        assert [(one.topic, one.source) for one in memory.labels(["r0"])["r0"]] == [("", ""), ("labels", "thumbs")]


def test_alerts_of_version_4_are_over_but_for_alarms_that_nothing_ended(url: str) -> None:
    ended = alert(2, kind="back_on_target", severity="info")
    stored = [alert(1, kind="below_target"), ended, alert(3, kind="below_target", domain="tax"), alert(4)]
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as memory:
        memory.emit(stored)
    engine = writer_engine(parse(url), "normal")
    with engine.begin() as connection:
        for step in (*_WITHOUT_LIVES, "UPDATE meta SET value = 4 WHERE name = 'schema_version'"):
            connection.execute(text(step))
    engine.dispose()
    open_store(url, topics=Topics()).close()
    with closing(open_queries(url)) as queries:
        found = queries.alerts_after(0, 9)
        assert [(one.kind, one.domain, one.state, one.began) for one in found] == [
            ("below_target", "law", "resolved", 0),
            ("below_target", "law", "resolved", 0),
            ("below_target", "tax", "firing", 3),
            ("drift", "law", "resolved", 0),
        ]
        assert [(one.number, one.state) for one in queries.alert_states()] == [
            (2, "resolved"), (3, "firing"), (4, "resolved"),
        ]  # fmt: skip


def test_an_agent_goes_on_where_the_old_one_ended(migrated: SqlStore) -> None:
    last = Signal(chosen_logprobs=np.array([-0.75], np.float32))
    piece = Generation("r9", T0 + 4, "a", Context(model="m"), last)
    with migrated.transaction() as memory:
        pipeline = Pipeline.resume(SETTINGS, memory)
        assert (pipeline.state.n_pending, pipeline.state.n_responses) == (1, 3)
        pipeline.step([response(77, T0 + 6), Chunk(piece, 1, is_last=True), label("l0", 0, 0.0, at=T0 + 50)], memory)
        rows = memory.responses(["r0", "r9", "r77"])
    assert (rows["r77"].correct, rows["r0"].correct, rows["r9"].n_tokens) == (1.0, 0.0, 3)
    assert pipeline.state.n_pending == 0
