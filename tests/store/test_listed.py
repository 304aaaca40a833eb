"""Queries that list a part of a store, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.alerts import AlertFilter, newest_alerts, open_alerts
from driftgauge.connectors.store.dead_letters import newest_heads
from driftgauge.connectors.store.label_lists import ListPlace, newest_label_lists
from driftgauge.connectors.store.newest import (
    estimates_of,
    newest_estimate,
    newest_label_list,
    newest_slices,
    slices_beside,
)
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.responses import (
    Found,
    ResponseFilter,
    find_response,
    list_responses,
    newest_signals,
    newest_since,
)
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.connectors.store.trends import accuracy_at, newest_boundaries
from driftgauge.models.series import SeriesKey
from tests.copying import replace
from tests.store.examples import alert, estimate, label, label_list, rejected, response, slice_estimates

ANY = ResponseFilter(
    domain=None, fingerprint=None, start=float("-inf"), end=float("inf"), is_labelled=None, min_p_correct=None,
    max_p_correct=None, before=None, limit=1_000,
)  # fmt: skip


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url, topics=Topics())) as opened:
        yield opened


@pytest.fixture
def queries(url: str, store: SqlStore) -> Iterator[StoreQueries]:
    assert store
    with closing(open_queries(url)) as opened:
        yield opened


def test_the_newest_estimate_of_a_domain_is_that_of_any_context_or_of_one(
    store: SqlStore, queries: StoreQueries
) -> None:
    made = [estimate(fingerprint=f, window_end=w) for f in ("f1", "f2") for w in (3_600.0, 7_200.0)]
    with store.transaction() as memory:
        memory.emit([*made[:3], estimate(domain="history", window_end=9_000.0)])
    assert newest_estimate(queries, "law", None) == made[1]
    assert newest_estimate(queries, "law", "f2") == made[2]
    assert newest_estimate(queries, "law", "f3") is None
    assert queries.latest_estimates("law") == made[1:3]


def test_estimates_of_a_domain_come_in_parts(store: SqlStore, queries: StoreQueries) -> None:
    made = [estimate(fingerprint=f, window_end=w) for w in (1.0, 2.0, 3.0) for f in ("f1", "f2")]
    with store.transaction() as memory:
        memory.emit([*made, estimate(domain="history")])
    everything = float("-inf"), float("inf")
    assert estimates_of(queries, "law", None, everything, None, 3) == made[:3]
    assert estimates_of(queries, "law", None, everything, (2.0, "f1"), 9) == made[3:]
    assert estimates_of(queries, "law", "f2", (2.0, 3.0), None, 9) == made[3:4]


def test_slices_are_found_by_their_estimate(store: SqlStore, queries: StoreQueries) -> None:
    made = [slice_estimates(float(w)) for w in (1, 2)]
    with store.transaction() as memory:
        memory.emit([*made, *(estimate(window_end=float(w)) for w in (1, 2, 3))])
    assert newest_slices(queries, "law", None) == newest_slices(queries, "law", "f1") == made[1]
    assert slices_beside(queries, estimate(window_end=1.0)) == made[0]
    assert slices_beside(queries, estimate(window_end=3.0)) is None
    assert newest_slices(queries, "history", None) is None


def test_label_lists_of_a_period_come_in_parts(store: SqlStore, queries: StoreQueries) -> None:
    newest = [label_list(2.0, domain=f"d{rank}", rank=rank) for rank in (1, 2, 3)]
    with store.transaction() as memory:
        memory.emit([label_list(1.0), *newest])
    assert newest_label_lists(queries, None, 2) == newest[:2]
    with store.transaction() as memory:
        memory.emit([label_list(3.0)])
    assert newest_label_lists(queries, ListPlace.of(newest[1]), 2) == newest[2:]
    assert newest_label_list(queries, SeriesKey("law", "f1")) == label_list(3.0)
    assert newest_label_list(queries, SeriesKey("law", "f2")) is None


def test_alerts_are_filtered(store: SqlStore, queries: StoreQueries) -> None:
    raised = [
        alert(1), alert(2, domain="history"), alert(3, state="resolved"), alert(4, severity="info", kind="new_context"),
        alert(5, slice="language=de", event_time=9_000.0),
    ]  # fmt: skip
    with store.transaction() as memory:
        memory.emit(raised)

    def numbers(wanted: AlertFilter) -> list[int]:
        return [one.number for one in newest_alerts(queries, wanted)]

    assert newest_alerts(queries, AlertFilter()) == raised[::-1]
    assert numbers(AlertFilter(domains=["law"], limit=2)) == [5, 4]
    assert numbers(AlertFilter(before=4, kind="drift")) == [3, 2, 1]
    assert numbers(AlertFilter(severity="info")) == [4]
    assert numbers(AlertFilter(start=4_000.0)) == [5]
    assert numbers(AlertFilter(end=4_000.0)) == [4, 3, 2, 1]
    assert [one.number for one in open_alerts(queries, AlertFilter())] == [5, 2]
    assert [one.number for one in open_alerts(queries, AlertFilter(before=5))] == [2]


def test_dead_letters_are_named_without_their_content(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([rejected(n) for n in range(3)])
    found = newest_heads(queries, 2)
    assert [head.offset for head in found] == [2, 1]
    assert found[0].size_bytes == rejected().size_bytes


def test_trends_are_those_of_the_domains_asked_for(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([estimate(domain=d, window_end=w) for d in ("law", "history") for w in (1.0, 2.0, 3.0)])
    assert newest_boundaries(queries, 2) == [2.0, 3.0]
    assert accuracy_at(queries, 2.0, ["law"]) == {SeriesKey("law", "f1"): {2.0: 0.75, 3.0: 0.75}}
    assert len(accuracy_at(queries, 2.0)) == 2


def test_a_rare_response_is_found_in_steps(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.add_responses(
            [
                response(
                    seq, domain=f"d{seq % 2}", fingerprint=f"f{seq % 3}", event_time=seq // 2, p_correct=seq % 20 / 20
                )
                for seq in range(100)
            ]
        )
    for domain in (None, "d0", "d1"):
        wanted = replace(ANY, domain=domain, min_p_correct=0.95, limit=2)
        steps, found = 0, Found([], None)
        seqs: list[int] = []
        while steps == 0 or found.last:
            found = list_responses(queries, replace(wanted, before=found.last), max_looked_at=7)
            seqs += [one.seq for one in found.responses]
            steps += 1
        assert seqs == ([] if domain == "d0" else [99, 79, 59, 39, 19])
        assert steps > (100 if domain is None else 50) / 7
    assert [one.seq for one in list_responses(queries, replace(ANY, domain="d1", fingerprint="f0")).responses] == [
        *range(99, 0, -6)
    ]
    assert list_responses(queries, replace(ANY, domain="no such")) == Found([], None)


def test_one_response_is_found_by_its_id(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0, text="words")])
        memory.add_labels([label("l-1", "r-0")])
    found = find_response(queries, "r-0")
    assert found is not None
    assert (found.listed.id, found.text, found.labels) == ("r-0", "words", [label("l-1", "r-0")])
    assert find_response(queries, "r-1") is None


def test_the_newest_signals_and_since_when_they_are(store: SqlStore, queries: StoreQueries) -> None:
    law = SeriesKey("law", "f1")
    with store.transaction() as memory:
        memory.add_responses([response(seq, domain=("law", "history")[seq % 2]) for seq in range(20)])
    assert [row.event_time for row in newest_signals(queries, law, 1_010.0, 2)] == [1_008.0, 1_006.0]
    assert newest_since(queries, 1_002.0, 1_018.0, 3) == 1_015.0
    assert newest_since(queries, 1_002.0, 1_018.0, 3, law) == 1_012.0
    assert newest_since(queries, 1_002.0, 1_018.0, 100) == 1_002.0
