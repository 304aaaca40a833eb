"""Requests to annotation tools: what is an error, what is tried again, and what no error shows."""

from __future__ import annotations

from typing import Any

import pytest

from driftgauge.connectors.annotation.json_api import ApiKey, JsonApi
from driftgauge.connectors.annotation.label_studio import AccessToken
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.labels.web import StatusError
from tests.annotation.http_server import Request, serving


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
def test_a_status_that_is_an_error(status: int) -> None:
    with (
        serving(lambda _request: (status, {"detail": "planted text"})) as url,
        pytest.raises(StatusError, match=f"/tasks answers with status {status}") as caught,
    ):
        JsonApi(url, ApiKey("X-Key", "planted")).call("GET", "/tasks", query="hidden")
    assert (caught.value.status, caught.value.retriable) == (status, status in (429, 503))
    assert "planted" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_server_that_is_away_is_asked_again_later() -> None:
    with pytest.raises(ConnectorError, match="cannot be read") as caught:
        JsonApi("http://127.0.0.1:9").call("GET", "/tasks")
    assert caught.value.retriable


def test_an_empty_answer_is_none() -> None:
    with serving(lambda _request: (204, None)) as url:
        assert JsonApi(url).call("DELETE", "/tasks/1") is None


def test_a_short_token_that_is_refused_is_renewed_once() -> None:
    given, refused = iter(["first", "second", "third"]), {"Bearer first", "Bearer third"}
    asked = list[str]()

    def respond(request: Request) -> tuple[int, Any]:
        if request.path == "/api/token/refresh":
            assert request.body == {"refresh": "a.b.c"}
            return 200, {"access": next(given)}
        asked.append(request.headers["authorization"])
        return (401, None) if asked[-1] in refused else (200, {"ok": True})

    with serving(respond) as url:
        api = JsonApi(url, AccessToken(url, "a.b.c"))
        assert api.call("GET", "/tasks") == {"ok": True}
        refused.add("Bearer second")
        with pytest.raises(StatusError, match="401; check the token"):
            api.call("GET", "/tasks")
    assert asked == ["Bearer first", "Bearer second", "Bearer second", "Bearer third"]


def test_a_server_that_gives_no_short_token_is_an_error() -> None:
    with serving(lambda _request: (200, {})) as url, pytest.raises(ConnectorError, match="gives no access token"):
        JsonApi(url, AccessToken(url, "a.b.c")).call("GET", "/tasks")
