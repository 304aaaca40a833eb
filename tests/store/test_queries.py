"""Queries on a store, for reports, while the agent writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.predictions import Predictions
from driftgauge.connectors.store.queries import Counts, StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.connectors.store.verdicts import verdicts
from driftgauge.models.classify.reliability import share_interval
from driftgauge.models.events import Label, Rejected
from driftgauge.models.labels import SourceCounts
from tests.copying import replace
from tests.store.examples import (
    acquisition,
    alert,
    estimate,
    label,
    label_list,
    rejected,
    response,
    slice_estimates,
    weak_segments,
)

DAY = 86_400.0


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url, topics=Topics())) as opened:
        yield opened


@pytest.fixture
def queries(url: str, store: SqlStore) -> Iterator[StoreQueries]:
    assert store
    with closing(open_queries(url)) as opened:
        yield opened


def test_queries_see_only_what_is_committed(store: SqlStore, queries: StoreQueries) -> None:
    assert queries.latest_estimates() == []
    assert queries.latest_acquisition() is None
    assert queries.span() is None
    with store.transaction() as memory:
        memory.emit([estimate()])
        memory.add_responses([response(0)])
        assert memory.estimate(estimate().key)
        assert queries.latest_estimates() == []
    assert queries.latest_estimates() == [estimate()]
    assert queries.span() == (1000.0, 1000.0)


def test_the_latest_estimate_of_every_domain_and_context(store: SqlStore, queries: StoreQueries) -> None:
    newest = [estimate(domain="art", window_end=1.0), estimate(window_end=9.0, revision=2), estimate(fingerprint="f2")]
    with store.transaction() as memory:
        memory.emit([*newest, estimate(window_end=5.0), estimate(window_end=9.0)])
    assert queries.latest_estimates() == newest


def test_estimates_of_windows_that_ended_in_a_span(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([estimate(window_end=float(end)) for end in (40, 10, 20, 30)])
    assert [found.window_end for found in queries.estimates(10.0, 30.0)] == [20.0, 30.0]


def test_predictions_are_selected_by_context_domain_and_time(store: SqlStore, queries: StoreQueries) -> None:
    rows = [
        response(0, p_correct=0.9, correct=1.0, weight=4.0),
        response(1, p_correct=0.5, event_time=2000.0),
        response(2, p_correct=0.3, domain="art", correct=0.0),
        response(3, p_correct=0.8, fingerprint="f2", correct=0.0),
        response(4, p_correct=math.nan, correct=1.0),
        response(5, p_correct=0.2, correct=0.0, weight=0.0),
    ]
    with store.transaction() as memory:
        memory.add_responses(rows)
        assert Predictions(queries, rows[0].fingerprint).count() == 0
    every = Predictions(queries, rows[0].fingerprint)
    assert (every.count(), every.count(0.5), every.count(0.95)) == (4, 2, 0)
    assert sorted(zip(*(column.tolist() for column in every.labelled()), strict=True)) == [
        (0.3, 0.0, 1.0),
        (0.9, 1.0, 4.0),
    ]
    assert Predictions(queries, rows[0].fingerprint, domain="art").count() == 1
    assert Predictions(queries, rows[0].fingerprint, since=1500.0).count() == 1
    assert [len(column) for column in Predictions(queries, "nothing").labelled()] == [0, 0, 0]


def test_predictions_against_labels_of_live_responses(store: SqlStore, queries: StoreQueries) -> None:
    rows = [
        *(response(i, p_correct=0.95, correct=1.0) for i in range(3)),
        response(3, p_correct=1.0, correct=0.0, weight=3.0),
        response(4, p_correct=0.1, correct=0.0),
        response(5, p_correct=0.0999, correct=1.0),
        response(6, p_correct=0.1),
        response(7, p_correct=math.nan, correct=1.0),
        response(8, p_correct=0.5, correct=1.0, weight=0.0),
        response(9, p_correct=0.5, correct=1.0, event_time=9_000.0),
        response(10, p_correct=0.5, correct=1.0, domain="probe:sums"),
    ]
    with store.transaction() as memory:
        memory.add_responses(rows)
    found = queries.reliability(1000.0, 9_000.0, 0.9)
    assert [(b.n, round(b.predicted, 3), b.observed) for b in found] == [(1, 0.1, 1.0), (1, 0.1, 0.0), (4, 0.975, 0.5)]
    assert (found[2].ci_low, found[2].ci_high) == pytest.approx(share_interval(0.5, 3.0, 0.9))
    assert queries.predicted(1000.0, 9_000.0) == (9, 8)
    assert queries.reliability(0.0, 1000.0, 0.9) == []


def test_dead_letters_by_reason_the_most_frequent_first(store: SqlStore, queries: StoreQueries) -> None:
    assert queries.rejected() == {}
    with store.transaction() as memory:
        memory.emit(
            [rejected(1), *(rejected(n, reason="unmatched_label") for n in (2, 3)), rejected(4, reason="no_id")]
        )
    assert list(queries.rejected().items()) == [("unmatched_label", 2), ("malformed", 1), ("no_id", 1)]


def test_alerts_of_a_span_in_order(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([alert(number, event_time=float(time)) for number, time in ((3, 10), (1, 19), (2, 20))])
    assert queries.alerts(10.0, 20.0) == [alert(1, event_time=19.0), alert(3, event_time=10.0)]


def test_the_label_lists_of_the_newest_period_by_rank(store: SqlStore, queries: StoreQueries) -> None:
    lists = [label_list(20.0, domain="a", rank=2), label_list(20.0, domain="b"), label_list(10.0), label_list(30.0)]
    with store.transaction() as transaction:
        transaction.emit(lists)
    assert queries.label_lists(10.0, 29.0) == [lists[1], lists[0]]
    assert queries.label_lists(20.0, 29.0) == []


def test_estimates_of_slices_and_the_newest_weak_segments_of_a_span(store: SqlStore, queries: StoreQueries) -> None:
    sliced = [slice_estimates(30.0), slice_estimates(20.0, domain="b"), slice_estimates(20.0, domain="a")]
    weak = [weak_segments(20.0), weak_segments(30.0)]
    with store.transaction() as transaction:
        transaction.emit([*sliced, slice_estimates(30.0, revision=0, domain="law"), *weak])
    assert queries.slice_estimates(10.0, 30.0) == [sliced[2], sliced[1], sliced[0]]
    assert queries.slice_estimates(20.0, 29.0) == []
    assert (queries.weak_segments(10.0, 29.0), queries.weak_segments(20.0, 30.0)) == (weak[0], weak[1])
    assert queries.weak_segments(30.0, 40.0) is None


def test_the_latest_acquisition_list(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([acquisition(20.0), acquisition(30.0, revision=2), acquisition(10.0), acquisition(30.0)])
    assert queries.latest_acquisition() == acquisition(30.0, revision=2)


def test_events_and_labels_are_counted_by_domain(store: SqlStore, queries: StoreQueries) -> None:
    rows = [
        response(n, domain="ab"[n % 2], event_time=float(n), correct=1.0 if n < 3 else float("nan")) for n in range(8)
    ]
    with store.transaction() as memory:
        memory.add_responses(rows)
    assert queries.counts(1.0, 6.0) == {"a": Counts(2, 1), "b": Counts(3, 1)}


def test_responses_that_retention_aggregated_still_count(store: SqlStore, queries: StoreQueries) -> None:
    rows = [response(n, event_time=n * DAY / 2, correct=n % 2, p_correct=0.5 if n else float("nan")) for n in range(8)]
    with store.transaction() as memory:
        memory.add_responses(rows)
    before = queries.counts(0, 4 * DAY)
    assert store.expire(2 * DAY, 3) == 3
    assert store.expire(2 * DAY, 3) == 1
    assert before == {"law": Counts(8, 8)}
    assert queries.counts(0, 4 * DAY) == before
    assert queries.counts(DAY, 2 * DAY) == {"law": Counts(2, 2)}
    assert queries.span() == (2 * DAY, 3.5 * DAY)


def test_dead_letters_are_listed_newest_first(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.emit([rejected(offset) for offset in range(3)])
    assert queries.newest(Rejected, 2) == [rejected(2), rejected(1)]
    assert queries.dropped_dead_letters() == 0


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_queries_on_something_that_is_no_store_raise_an_error(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "empty.db").touch()
    for url, why in (
        (f"sqlite:///{tmp_path / 'absent.db'}", "there is no store at"),
        (f"sqlite:///{tmp_path / 'empty.db'}", "is not a driftgauge store"),
        (postgres_url, "is not a driftgauge store"),
    ):
        with pytest.raises(ConnectorError, match=why):
            open_queries(url)
    assert not (tmp_path / "absent.db").exists()


def test_labels_by_source_and_how_far_they_agree_with_drawn_labels(store: SqlStore, queries: StoreQueries) -> None:
    with store.transaction() as memory:
        memory.add_responses(
            [*(response(i, correct=1.0, label_kind="designed", weight=2.0) for i in range(3)), response(3)]
        )
        thumbs = [Label(f"t{i}", response(i).id, 1.0, float(i > 0), source="thumbs") for i in range(4)]
        again = Label("again", response(0).id, 1.0, 0.0, inclusion_probability=0.5, source="review")
        withdrawn = Label("gone", response(1).id, 2.0, None, supersedes="gone", source="thumbs")
        memory.add_labels([*thumbs, again, withdrawn, Label("plain", response(1).id, 1.0, 1.0)])
    assert queries.label_sources(0.0, 9e9) == [SourceCounts("thumbs", 4, 3, 2), SourceCounts("review", 1, 0, 0)]
    assert queries.label_sources(9e9, 9.1e9) == []


def test_verdicts_of_a_judge_are_told_by_domain_with_the_truth_of_people_where_there_is_one(
    store: SqlStore, queries: StoreQueries
) -> None:
    rows = [
        response(0, correct=0.0, weight=4.0),
        response(1, domain="art", correct=1.0, weight=0.0),  # only the judge's own label, which teaches
        response(2, correct=1.0, weight=2.0),  # the judge's own label counts
        response(3, event_time=9_000.0),
        response(4, domain="art"),
        response(5),  # the verdict was withdrawn
    ]

    def verdict(i: int, value: float | None, name: str = "", **more: Any) -> Label:
        return Label(f"judge-{i}{name}", rows[i].id, 1_500.0, value, "model", "j", source="judge", **more)

    labels = [
        verdict(0, 1.0, inclusion_probability=0.5),
        Label("person", rows[0].id, 1_600.0, 0.0, inclusion_probability=0.25),
        verdict(1, 0.0),
        verdict(2, 1.0, inclusion_probability=0.5),
        verdict(2, 0.0, "-older", inclusion_probability=0.1),
        verdict(3, 1.0),
        verdict(5, None, supersedes="x"),
        Label("person-4", rows[4].id, 1_600.0, 1.0),
    ]
    labels[3] = replace(labels[3], event_time=1_501.0)
    with store.transaction() as memory:
        memory.add_responses(rows)
        memory.add_labels(labels)
    found = verdicts(queries, 0.0, 5_000.0)
    assert {domain: len(verdicts.verdict) for domain, verdicts in found.items()} == {"art": 1, "law": 2}
    law, art = found["law"], found["art"]
    assert sorted(zip(law.verdict, law.verdict_weight, law.truth_weight, strict=True)) == [(1, 2, 2), (1, 2, 4)]
    assert [truth for truth in law.truth if not math.isnan(truth)] == [0.0]
    assert (art.verdict.tolist(), art.verdict_weight.tolist()) == ([0.0], [1.0])
    assert math.isnan(art.truth[0])


def test_kept_texts_are_those_of_live_traffic(store: SqlStore, queries: StoreQueries) -> None:
    rows = [
        response(0, text="old"),
        response(1, text="new", event_time=2_000.0),
        response(2, event_time=2_000.0),
        response(3, text="4", event_time=2_000.0, domain="probe:sums"),
        response(4, text="", event_time=2_000.0, domain="probes"),
    ]
    with store.transaction() as memory:
        memory.add_responses(rows)
    assert sorted(queries.live_texts(1_500.0)) == [(rows[1].id, "new"), (rows[4].id, "")]
    assert len([*queries.live_texts(0.0)]) == 3


def test_labels_and_texts_of_certain_responses(store: SqlStore, queries: StoreQueries) -> None:
    given = label("a", "r-1", source="test", inclusion_probability=0.25)
    withdrawn = label("a", "r-1", 3000.0, correct=None, supersedes="a")
    with store.transaction() as memory:
        memory.add_responses([response(1, text="five"), response(2), response(3, text="six")])
        memory.add_labels([given, withdrawn, label("b", "r-2"), label("c", "pending")])
    assert queries.labels_of(["r-1", "pending"]) == [given, withdrawn, label("c", "pending")]
    many = [f"r-{n}" for n in range(3, 2_000)]
    assert queries.texts(["r-1", "r-2", *many]) == {"r-1": "five", "r-3": "six"}
    assert queries.labels_of(many) == []
