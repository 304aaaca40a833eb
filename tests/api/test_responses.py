"""Responses: filters, pages, and one response with all that is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.rows import ResponseRow
from driftgauge.models.signals.feature_sets import FEATURES
from tests.api.demo import SHARED
from tests.api.serving import api_on, get, get_reply, pages
from tests.copying import replace
from tests.store.examples import label, response

MIDDLE = "2026-01-01T00:30:00Z"


@pytest.fixture(scope="module")
def every(demo: int) -> list[dict[str, Any]]:
    return pages(demo, "/v1/responses", limit=1_000)


@SHARED
def test_every_response_is_listed_once_newest_first(every: list[dict[str, Any]]) -> None:
    assert len({row["response_id"] for row in every}) == len(every) == 3_830
    times = [row["event_time"] for row in every]
    assert times == sorted(times, reverse=True)


@SHARED
@pytest.mark.parametrize(
    "question",
    [
        {"domain": "add"},
        {"labelled": "true"},
        {"labelled": "false", "domain": "add"},
        {"min_p_correct": 0.9},
        {"max_p_correct": 0.1, "domain": "date"},
        {"min_p_correct": 0.4, "max_p_correct": 0.5, "labelled": "true"},
        {"from_": MIDDLE},
        {"to": MIDDLE, "domain": "add"},
        {"fingerprint": "no such"},
        {"domain": "no such"},
    ],
)
def test_filters_keep_what_they_say(demo: int, every: list[dict[str, Any]], question: dict[str, Any]) -> None:
    def fits(row: dict[str, Any]) -> bool:
        p = row["p_correct"]
        return (
            question.get("domain", row["domain"]) == row["domain"]
            and question.get("fingerprint", row["fingerprint"]) == row["fingerprint"]
            and question.get("labelled", str(row["correct"] is not None).lower())
            == str(row["correct"] is not None).lower()
            and ("min_p_correct" not in question or (p is not None and p >= question["min_p_correct"]))
            and ("max_p_correct" not in question or (p is not None and p <= question["max_p_correct"]))
            and question.get("from_", "") <= row["event_time"] < question.get("to", "9")
        )

    assert pages(demo, "/v1/responses", limit=37, **question) == [row for row in every if fits(row)]


@SHARED
def test_one_response_has_its_features_and_labels(demo: int, every: list[dict[str, Any]]) -> None:
    row = next(row for row in every if row["correct"] is not None and row["p_correct"] is not None)
    found = get(demo, "/v1/responses/one", id=row["response_id"])
    assert {name: found[name] for name in row} == row
    assert {*FEATURES} <= found["features"].keys()
    (given,) = found["labels"]
    assert (given["correct"], given["inclusion_probability"]) == (row["correct"], 1 / row["weight"])
    assert found["text"] is None


@SHARED
def test_what_is_unknown_is_null(every: list[dict[str, Any]]) -> None:
    unlabelled = [row for row in every if row["correct"] is None]
    assert {(row["weight"], row["label_kind"]) for row in unlabelled} == {(None, None)}
    first = every[-1]
    assert (first["p_correct"], first["classifier_version"]) == (None, None)


@SHARED
def test_an_unknown_response_is_not_found(demo: int) -> None:
    assert get_reply(demo, "/v1/responses/one", id="no such").status == 404
    assert get_reply(demo, "/v1/responses/one").status == 422


HOSTILE = '<script>alert("1")</script>/?&#\n\U0001f600 ' + "x" * 200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(f"sqlite:///{tmp_path / 'gauge.db'}", topics=Topics())) as opened:
        yield opened


@pytest.fixture
def port(tmp_path: Path, store: SqlStore) -> Iterator[int]:
    add(store, *(row(seq) for seq in range(30)))
    with api_on(tmp_path / "gauge.db") as port:
        yield port


def row(seq: int, event_time: float | None = None) -> ResponseRow:
    """One of three contexts of two domains; several have the same event time."""
    return response(
        seq,
        domain=("law", HOSTILE)[seq % 2],
        fingerprint=f"f{seq % 3}",
        event_time=1_000.0 + seq // 4 if event_time is None else event_time,
        text=f"text {seq}",
        p_correct=float("nan") if seq == 7 else seq / 100,
    )


def add(store: SqlStore, *rows: ResponseRow) -> None:
    with store.transaction() as transaction:
        transaction.add_responses(rows)


@pytest.mark.parametrize("question", [{}, {"domain": "law"}, {"domain": HOSTILE, "labelled": "false"}])
def test_pages_visit_each_response_once_while_others_arrive(
    port: int, store: SqlStore, question: dict[str, object]
) -> None:
    def seen(page: dict[str, Any]) -> list[str]:
        return [item["response_id"] for item in page["items"]]

    page = get(port, "/v1/responses", limit=3, **question)
    found, seq = seen(page), 30
    while page["next"]:
        add(store, row(seq, 5_000.0 + seq), row(seq + 1, 1_003.0), replace(row(seq + 2), event_time=900.0))
        seq += 3
        page = get(port, "/v1/responses", limit=3, after=page["next"], **question)
        found += seen(page)
    first = {f"r-{i}" for i in range(30) if question.get("domain", row(i).domain) == row(i).domain}
    assert len(set(found)) == len(found)
    assert first <= set(found)


def test_names_are_data(port: int) -> None:
    found = get(port, "/v1/responses", domain=HOSTILE)
    assert {item["domain"] for item in found["items"]} == {HOSTILE}
    assert len(found["items"]) == 15


def test_text_is_given_only_to_who_asks_for_it(port: int) -> None:
    assert get(port, "/v1/responses/one", id="r-3")["text"] is None
    assert get(port, "/v1/responses/one", id="r-3", text="true")["text"] == "text 3"
    assert b"text 3" not in get_reply(port, "/v1/responses").body


def test_a_feature_that_is_unknown_is_null(port: int, store: SqlStore) -> None:
    features = np.array([np.nan, *range(16)], dtype=np.float32)
    add(store, replace(row(40), features=features))
    found = get(port, "/v1/responses/one", id="r-40")["features"]
    assert found[FEATURES[0]] is None
    assert found[FEATURES[1]] == 0


def test_one_response_shows_its_newest_labels(port: int, store: SqlStore) -> None:
    with store.transaction() as transaction:
        transaction.add_labels([label(f"l-{n}", "r-3", 2_000.0 + n, annotator_id="ann") for n in range(120)])
        transaction.add_labels([label("gone", "r-3", 3_000.0, correct=None, supersedes="l-1", source="review")])
    found = get_reply(port, "/v1/responses/one", id="r-3")
    labels = found.json["labels"]
    assert [one["label_id"] for one in labels] == [*(f"l-{n}" for n in range(21, 120)), "gone"]
    assert (labels[-1]["correct"], labels[-1]["source"], labels[0]["source"]) == (None, "review", None)
    assert b"ann" not in found.body.replace(b"annotator_kind", b"")
