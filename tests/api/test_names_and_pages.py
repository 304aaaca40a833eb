"""Names are data, unknown is null, and pages visit every item once while others are added: on the store of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.outputs import Output
from tests.api.serving import api_on, get, get_reply, pages
from tests.report.examples import DAY_S, END, HOSTILE, OUTPUTS, alert, estimate
from tests.store.examples import label_list

EMOJI = "\U0001f600 \u202e\u00e9 " + "x" * 240


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(f"sqlite:///{tmp_path / 'gauge.db'}", topics=Topics())) as opened:
        emit(
            opened,
            *OUTPUTS,
            estimate(EMOJI, 0.7, 0.02),
            *(alert(n, EMOJI, "drift", "warning", END, "moved") for n in range(5, 9)),
        )
        yield opened


@pytest.fixture
def port(tmp_path: Path, store: SqlStore) -> Iterator[int]:
    assert store
    with api_on(tmp_path / "gauge.db") as port:
        yield port


def emit(store: SqlStore, *outputs: Output) -> None:
    with store.transaction() as transaction:
        transaction.emit(outputs)


@pytest.mark.parametrize("name", [HOSTILE, EMOJI])
def test_names_are_data(port: int, name: str) -> None:
    assert get(port, "/v1/domain", domain=name)["domain"] == name
    assert [row["domain"] for row in get(port, "/v1/domains", search=name)["items"]] == [name]
    for path in ("estimates", "estimates/history", "alerts"):
        assert {item["domain"] for item in get(port, f"/v1/{path}", domain=name)["items"]} <= {name}
    assert name in [made["domain"] for made in get(port, "/v1/estimates")["items"]]


def test_a_name_that_no_database_holds_is_refused(port: int) -> None:
    for path in ("domain", "estimates/history", "slices", "estimates", "alerts", "responses"):
        assert get_reply(port, f"/v1/{path}", domain="a\0b").status == 422
    assert get_reply(port, "/v1/domain", domain="x" * 5_000).status == 422


def test_what_is_unknown_is_null(port: int) -> None:
    row = get(port, "/v1/domain", domain="new")
    assert (row["verdict"], row["status_reason"]) == ("no estimate", "7 of 30 responses")
    for name in ("accuracy", "ci_low", "ci_high", "accuracy_labelled", "label_list"):
        assert row[name] is None
    assert row["trend"]["accuracy"] == [None] * len(row["trend"]["accuracy"])
    assert row["priority"]["value"] is None
    assert (row["features"], row["calibration"], row["n_now"], row["n_before"]) == ([], [], 0, 0)


def test_the_trend_has_the_boundaries_of_all_series(port: int) -> None:
    trend = get(port, "/v1/domain", domain="math")["trend"]
    assert (trend["start"], trend["end"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert trend["accuracy"] == [0.83, 0.78, 0.76, 0.74, None, None, 0.66, 0.64, 0.61]


def test_the_overview_filters_and_pages(port: int) -> None:
    every = get(port, "/v1/domains")["items"]
    assert pages(port, "/v1/domains", limit=2) == every
    assert [row["domain"] for row in every][:3] == ["math", "geography", EMOJI]
    assert [row["domain"] for row in get(port, "/v1/domains", search="HISTO")["items"]] == ["history"]
    for verdict in ("below target", "unclear", "no estimate", "meets target"):
        wanted = [row for row in every if row["verdict"] == verdict]
        assert get(port, "/v1/domains", verdict=verdict)["items"] == wanted
        assert get(port, "/v1/domains", limit=1)["counts"][verdict] == len(wanted)


def added_alert(n: int) -> Output:
    return alert(100 + n, "math", "drift", "warning", END + n, "moved again", slice=f"language={n}")


def added_series(n: int) -> Output:
    return estimate(f"{'abcxyz'[n % 6]} {n}", 0.7, 0.1)


def added_window(n: int) -> Output:
    return estimate("math", 0.7, 0.1, window_end=END + DAY_S + n)


def added_period(n: int) -> Output:
    return label_list(END + DAY_S, domain=f"d{n}", rank=n)


@pytest.mark.parametrize(
    ("path", "added", "question"),
    [
        ("alerts", added_alert, {}),
        ("alerts", added_alert, {"state": "open"}),
        ("domains", added_series, {}),
        ("estimates", added_series, {}),
        ("estimates/history", added_window, {"domain": "math"}),
        ("label-lists", added_period, {}),
    ],
)
def test_pages_visit_each_item_once_while_others_are_added(
    port: int, store: SqlStore, path: str, added: Callable[[int], Output], question: dict[str, Any]
) -> None:
    def seen(page: dict[str, Any]) -> list[tuple[Any, ...]]:
        names = ("domain", "number", "window_end", "period_end")
        return [tuple(item.get(name) for name in names) for item in page["items"]]

    first = seen(get(port, f"/v1/{path}", limit=1_000, **question))
    page = get(port, f"/v1/{path}", limit=1, **question)
    found, n = seen(page), 0
    while page["next"] and n < 50:
        n += 1
        if n < 10:
            emit(store, added(n))
        page = get(port, f"/v1/{path}", limit=1, after=page["next"], **question)
        found += seen(page)
    assert len({*found}) == len(found)
    assert {*first} <= {*found}
