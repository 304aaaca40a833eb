"""The store of `examples`, and its report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from driftgauge.agent.core.context_state import context_parts
from driftgauge.agent.outlets.report import Report, make_report
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.report.examples import END, LABELS, LAW, OUTPUTS, REJECTED, START, response, scored_context


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def queries(url: str) -> Iterator[StoreQueries]:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        transaction.add_responses([*(response(i) for i in range(5)), response(5, "probe:sums")])
        transaction.add_responses([response(i, "law") for i in LAW])
        transaction.add_labels(LABELS)
        transaction.emit([*OUTPUTS, *REJECTED])
        transaction.save_state(context_parts("0123456789ab", scored_context()))
    with closing(open_queries(url)) as queries:
        yield queries


@pytest.fixture
def report(queries: StoreQueries) -> Report:
    made = make_report(queries, START, END, {"history": 0.88}, 0.8)
    return replace(made, driftgauge_version="0.0.0")
