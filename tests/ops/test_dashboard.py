"""The dashboard for Grafana: its queries run on a real Prometheus that scraped an agent; its panels are complete."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.ops.files import DASHBOARD
from tests.ops.prometheus import Prometheus

pytestmark = [pytest.mark.prometheus, pytest.mark.xdist_group("prometheus")]

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = {"job": "driftgauge", "domain": "add"}
INTERVALS = {"__rate_interval": "5m", "__interval": "1m"}
"""What Grafana itself puts in place of these names."""

QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


def choices(prometheus: Prometheus, name: str, chosen: dict[str, str]) -> list[str]:
    """The values that Grafana offers for a variable."""
    found = LABEL_VALUES.fullmatch(VARIABLES[name]["query"]["query"])
    assert found is not None
    values: list[str] = prometheus.get(f"label/{found[2]}/values", **{"match[]": filled(found[1], chosen)})
    return values


def filled(text: str, chosen: dict[str, str]) -> str:
    """A query with the values of its variables, and none left."""
    text = re.sub(r"\$(\w+)", lambda name: {**INTERVALS, **chosen}[name[1]], text)
    assert "$" not in text
    return text


@pytest.fixture(scope="session")
def chosen(prometheus: Prometheus) -> dict[str, str]:
    """A value for each variable, chosen in their order."""
    values = dict[str, str]()
    for name in (name for name in VARIABLES if name != "datasource"):
        offered = choices(prometheus, name, values)
        values[name] = CHOSEN.get(name, offered[0])
        assert values[name] in offered
    return values


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_gives_a_series(prometheus: Prometheus, chosen: dict[str, str], query: str) -> None:
    values = [series["value"][1] for series in prometheus.query(filled(query, chosen))]
    assert values
    assert [value for value in values if value != "NaN"]


def test_the_table_of_domains_has_a_row_for_each_domain_with_an_estimate(
    prometheus: Prometheus, chosen: dict[str, str]
) -> None:
    (table,) = (panel for panel in PANELS if panel["type"] == "table")
    rows = {target["refId"]: labels_of(prometheus, filled(target["expr"], chosen)) for target in table["targets"]}
    assert len(rows["A"]) > 10
    without_labels = rows.pop("E")  # a domain without labels has no accuracy by labels
    assert without_labels < rows["A"]
    assert [column for column, found in rows.items() if found != rows["A"]] == []


def labels_of(prometheus: Prometheus, query: str) -> set[tuple[tuple[str, str], ...]]:
    """The labels of each series; the table joins its columns by them."""
    return {tuple(sorted(series["metric"].items())) for series in prometheus.query(query)}


def test_every_query_uses_the_data_source_and_the_job_that_were_chosen() -> None:
    targets = [target for panel in PANELS for target in panel["targets"]]
    places = [*PANELS, *targets, *(v for v in VARIABLES.values() if v["type"] == "query")]
    assert [place for place in places if place["datasource"] != DATA_SOURCE] == []
    selectors = [s for t in targets for s in re.findall(r"driftgauge_\w+(?:\{[^}]*\})?", t["expr"])]
    assert [selector for selector in selectors if 'job="$job"' not in selector] == []


def test_estimates_survive_a_change_of_the_estimator() -> None:
    by_estimator = r"(?:max by \([\w, ]+\) \()?driftgauge_(?:accuracy_(?!target)|window_)\w+"
    uses = [use for panel in PANELS for t in panel["targets"] for use in re.findall(by_estimator, t["expr"])]
    assert uses
    assert [use for use in uses if not use.startswith("max by (") or "estimator" in use] == []


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    assert [p["title"] for p in PANELS if not (p["title"] and p["description"].endswith("."))] == []
    assert [p["title"] for p in PANELS if not p["fieldConfig"]["defaults"].get("unit")] == []
    assert len({p["title"] for p in PANELS}) == len(PANELS)


def test_ids_are_unique() -> None:
    panels = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(panels)) == len(panels)
    for panel in PANELS:
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_panels_fit_the_grid_and_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert [place for place in places if place["x"] < 0 or place["x"] + place["w"] > 24] == []
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two panels cover the same place."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_overrides_and_bands_name_series_that_exist() -> None:
    for panel in PANELS:
        renamed = [n for t in panel.get("transformations", ()) for n in t["options"].get("renameByName", {}).values()]
        known = {*renamed, *(target["legendFormat"] for target in panel["targets"])}
        overrides = panel["fieldConfig"]["overrides"]
        below = [p["value"] for o in overrides for p in o["properties"] if p["id"] == "custom.fillBelowTo"]
        assert {o["matcher"]["options"] for o in overrides}.union(below) <= known, panel["title"]


def test_the_dashboard_holds_no_data_source_and_no_state_of_one_installation() -> None:
    assert "id" not in BOARD
    assert not {"__inputs", "__requires", "iteration"} & BOARD.keys()
    assert [name for name, variable in VARIABLES.items() if "current" in variable] == []
