"""One domain: the row of the overview, and what stands behind its estimate."""

from __future__ import annotations

from typing import Any

import pytest

from driftgauge.agent.api.shapes import as_carried
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.outputs import LabelList, WeakSegments
from tests.api.demo import SHARED
from tests.api.serving import get, get_reply

pytestmark = SHARED


@pytest.fixture(scope="module")
def overview(demo: int) -> dict[str, Any]:
    return dict(get(demo, "/v1/domains"))


@pytest.fixture(scope="module")
def found(demo: int, overview: dict[str, Any]) -> list[dict[str, Any]]:
    return [get(demo, "/v1/domain", domain=row["domain"]) for row in overview["items"]]


def test_a_domain_has_the_row_of_the_overview(overview: dict[str, Any], found: list[dict[str, Any]]) -> None:
    assert [{name: domain[name] for name in row} for row, domain in zip(overview["items"], found, strict=True)] == (
        overview["items"]
    )


def test_the_overview_counts_every_verdict_and_lists_the_worst_first(overview: dict[str, Any]) -> None:
    order = list(overview["counts"])
    places = [(order.index(row["verdict"]), (row["accuracy"] or 0) - row["target"]) for row in overview["items"]]
    assert sum(overview["counts"].values()) == len(overview["items"]) == 13
    assert places == sorted(places)


def test_a_domain_has_its_estimate_as_the_topic_carries_it(queries: StoreQueries, found: list[dict[str, Any]]) -> None:
    newest = {made.domain: as_carried(made) for made in queries.latest_estimates()}
    assert {domain["domain"]: domain["estimate"] for domain in found} == newest


def test_calibration_counts_the_labels_of_the_domain(queries: StoreQueries, found: list[dict[str, Any]]) -> None:
    bins = [bin_ for domain in found for bin_ in domain["calibration"]]
    everything = queries.reliability(float("-inf"), float("inf"), 0.9)
    assert sum(bin_["n"] for bin_ in bins) == sum(bin_.n for bin_ in everything) > 0
    assert all(bin_["ci_low"] <= bin_["correct"] + 1e-9 <= bin_["ci_high"] + 2e-9 for bin_ in bins)


def test_a_domain_without_labels_has_no_calibration(found: list[dict[str, Any]]) -> None:
    assert {domain["domain"] for domain in found if not domain["calibration"]} == {"capital"}


def test_features_compare_the_window_with_what_came_before(found: list[dict[str, Any]]) -> None:
    for domain in found:
        assert domain["n_now"] == domain["n_events"]
        shown = {histogram["name"]: histogram for histogram in domain["features"]}
        assert {"p_correct", "n_tokens", "entropy_mean"} <= shown.keys()
        assert (shown["p_correct"]["edges"][0], shown["p_correct"]["edges"][-1]) == (0, 1)
        for histogram in shown.values():
            assert histogram["edges"] == sorted(histogram["edges"])
            assert sum(histogram["now"]) == pytest.approx(1, abs=1e-4)
            assert len(histogram["now"]) == len(histogram["edges"]) - 1


def test_a_domain_that_is_new_has_nothing_before_its_window(demo: int) -> None:
    row = get(demo, "/v1/domain", domain="date")
    assert (row["n_before"] == 0) == all(histogram["before"] is None for histogram in row["features"])
    assert row["n_before"] < 20


def test_slices_segments_and_lists_are_those_of_the_domain(queries: StoreQueries, found: list[dict[str, Any]]) -> None:
    lists = queries.newest(LabelList, 1_000)
    (weak,) = queries.newest(WeakSegments, 1)
    acquisition = queries.latest_acquisition()
    assert acquisition is not None
    for domain in found:
        name = domain["domain"]
        assert {part["slice"].partition("=")[0] for part in domain["slices"]} == {"difficulty"}
        assert domain["weak_segments"] == [as_carried(row) for row in weak.segments if row.domain == name]
        assert domain["priority"] == next(as_carried(row) for row in acquisition.priorities if row.domain == name)
        assert domain["label_list"] == next((as_carried(row) for row in lists if row.domain == name), None)
    assert any(domain["label_list"] for domain in found)


def test_an_unknown_domain_and_an_unknown_context_are_not_found(demo: int) -> None:
    fingerprint = get(demo, "/v1/domains")["items"][0]["fingerprint"]
    assert get_reply(demo, "/v1/domain", domain="add", fingerprint=fingerprint).status == 200
    for question in ({"domain": "no such"}, {"domain": "add", "fingerprint": "no such"}, {"domain": ""}):
        found = get_reply(demo, "/v1/domain", **question)
        assert (found.status, found.headers["content-type"]) == (404, "application/problem+json")
        assert get_reply(demo, "/v1/estimates/history", **question).status == 404
        assert get_reply(demo, "/v1/slices", **question).status == 404
