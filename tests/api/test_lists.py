"""Estimates, alerts and lists: as their topics carry them, in pages that visit every item once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from driftgauge.agent.api.shapes import as_carried
from driftgauge.connectors.publishing import contract
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.outputs import SliceEstimates, WeakSegments
from tests.api.demo import SHARED
from tests.api.serving import get, get_reply, pages

pytestmark = SHARED

MIDDLE = "2026-01-01T00:30:00Z"


def test_estimates_are_the_newest_of_each_series(demo: int, queries: StoreQueries) -> None:
    newest = [as_carried(made) for made in queries.latest_estimates()]
    assert pages(demo, "/v1/estimates", limit=5) == newest
    assert get(demo, "/v1/estimates", limit=len(newest)) == {"items": newest, "next": None}
    assert get(demo, "/v1/estimates", domain="add")["items"] == [made for made in newest if made["domain"] == "add"]
    assert get(demo, "/v1/estimates", domain="no such") == {"items": [], "next": None}
    assert get(demo, "/v1/estimates", fingerprint="no such")["items"] == []


def test_the_history_of_a_domain_goes_by_window_end(demo: int, queries: StoreQueries) -> None:
    every = [as_carried(made) for made in queries.estimates(-math.inf, math.inf) if made.domain == "add"]
    assert pages(demo, "/v1/estimates/history", domain="add", limit=3) == every
    later = [made for made in every if made["window_end"] >= MIDDLE]
    assert get(demo, "/v1/estimates/history", domain="add", from_=MIDDLE)["items"] == later
    assert get(demo, "/v1/estimates/history", domain="add", to=MIDDLE)["items"] == every[: -len(later)]
    assert get(demo, "/v1/estimates/history", domain="add", to="2020-01-01T00:00:00Z")["items"] == []


def test_slices_are_those_of_the_newest_window(demo: int, queries: StoreQueries) -> None:
    of_add = [made for made in queries.newest(SliceEstimates, 1_000) if made.domain == "add"]
    assert get(demo, "/v1/slices", domain="add") == as_carried(max(of_add, key=lambda made: made.window_end))


def test_alerts_are_listed_newest_first(demo: int, queries: StoreQueries) -> None:
    every = [as_carried(alert) for alert in queries.alerts(-math.inf, math.inf)][::-1]
    assert len(every) > 20
    assert pages(demo, "/v1/alerts", limit=7) == every
    assert get(demo, "/v1/alerts", limit=1_000)["items"] == every
    for question in ({"domain": "add"}, {"kind": "drift"}, {"severity": "info"}, {"kind": "drift", "domain": "add"}):
        wanted = [alert for alert in every if question.items() <= alert.items()]
        assert get(demo, "/v1/alerts", **question)["items"] == wanted
    assert get(demo, "/v1/alerts", from_=MIDDLE)["items"] == [one for one in every if one["event_time"] >= MIDDLE]
    assert get(demo, "/v1/alerts", to=MIDDLE)["items"] == [one for one in every if one["event_time"] < MIDDLE]


def test_open_alerts_are_those_that_still_fire(demo: int, queries: StoreQueries) -> None:
    fire = [as_carried(alert) for alert in queries.alert_states() if alert.state != "resolved"][::-1]
    assert pages(demo, "/v1/alerts", state="open", limit=4) == fire
    in_rows = [alert["number"] for row in get(demo, "/v1/domains")["items"] for alert in row["alerts"]]
    assert set(in_rows) <= {alert["number"] for alert in fire}
    of_domains = {alert["domain"] for alert in fire if alert["domain"] != "(all)"}
    assert of_domains == {row["domain"] for row in get(demo, "/v1/domains")["items"] if row["alerts"]}


def test_the_data_list_and_the_weak_segments_are_the_newest(demo: int, queries: StoreQueries) -> None:
    acquisition = queries.latest_acquisition()
    assert get(demo, "/v1/data-list") == as_carried(acquisition)
    assert get(demo, "/v1/weak-segments") == as_carried(queries.newest(WeakSegments, 1)[0])


def test_label_lists_are_those_of_the_newest_period_by_rank(demo: int, queries: StoreQueries) -> None:
    newest = [as_carried(made) for made in queries.label_lists(-math.inf, math.inf)]
    assert len(newest) > 3
    assert pages(demo, "/v1/label-lists", limit=3) == newest


@pytest.mark.parametrize(
    ("path", "name"),
    [("estimates", "estimate"), ("alerts", "alert"), ("label-lists", "label_list"), ("data-list", "priorities"),
     ("weak-segments", "weak_segments")],
)  # fmt: skip
def test_what_topics_carry_follows_the_event_contract(demo: int, path: str, name: str) -> None:
    schema = json.loads((Path(__file__).parents[2] / f"docs/schemas/{name}.json").read_text())
    assert schema == contract.schemas()[name]
    answer = get(demo, f"/v1/{path}")
    for item in answer.get("items", [answer]):
        Draft202012Validator(schema).validate(item)


@pytest.mark.parametrize("path", ["domains", "estimates", "estimates/history", "alerts", "label-lists", "responses"])
def test_a_cursor_of_another_list_or_none_at_all_is_refused(demo: int, path: str) -> None:
    wrong = "eyJ4IjoxfQ", "W10", "W251bGxd", "?", "WzFlOTk5OTld", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwXQ"
    for after in wrong:
        found = get_reply(demo, f"/v1/{path}", after=after, **({"domain": "add"} if "history" in path else {}))
        assert (found.status, found.json["errors"]) == (422, ["after: pass the value of `next` unchanged"]), after
