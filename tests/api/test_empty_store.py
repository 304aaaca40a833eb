"""A store without anything: unknown is null or not found, never zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from tests.api.serving import api_on, get, get_reply

EMPTY: dict[str, Any] = {"items": [], "next": None}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("api") / "empty.db"
    open_store(f"sqlite:///{path}", topics=Topics()).close()
    with api_on(path) as port:
        yield port


@pytest.mark.parametrize("path", ["estimates", "alerts", "label-lists", "responses"])
def test_lists_are_empty(port: int, path: str) -> None:
    assert get(port, f"/v1/{path}") == EMPTY


def test_the_overview_has_no_time(port: int) -> None:
    found = get(port, "/v1/domains")
    assert (found["items"], found["as_of"], {*found["counts"].values()}) == ([], None, {0})


@pytest.mark.parametrize(
    "path",
    ["domain?domain=law", "estimates/history?domain=law", "slices?domain=law", "responses/one?id=r-1"],
)
def test_what_was_never_made_is_not_found(port: int, path: str) -> None:
    path, _, query = path.partition("?")
    assert get_reply(port, f"/v1/{path}", **dict([query.split("=")] if query else ())).status == 404


@pytest.mark.parametrize("path", ["data-list", "weak-segments"])
def test_a_list_that_was_not_made_yet_is_null(port: int, path: str) -> None:
    assert get(port, f"/v1/{path}") is None


def test_there_are_no_classifiers(port: int) -> None:
    assert get(port, "/v1/classifiers") == {"items": []}


def test_quality_of_nothing_has_no_span(port: int) -> None:
    found = get(port, "/v1/quality")
    assert (found["start"], found["end"], found["n_stored"], found["sample"]) == (None, None, 0, [])
    assert found["pending"] == {"n": 0, "oldest": None, "causes": {}, "examples": {}}
