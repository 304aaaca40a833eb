"""The API served on a store, and requests to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from driftgauge.agent.api.build import open_server
from driftgauge.agent.outlets.http import listen
from driftgauge.config.load import load_settings


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as values."""
        return json.loads(self.body)


@contextmanager
def api_on(path: Path, **more: object) -> Iterator[int]:
    """The API on a SQLite store, without an agent; gives the port."""
    given = {name.replace("__", "."): value for name, value in more.items()}
    settings = load_settings(overrides={"store.url": f"sqlite:///{path}", "server.port": 0, **given})
    with closing(open_server(settings, listen(settings.server.host, settings.server.port))) as server:
        yield server.port


def ask(
    port: int, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: bytes | None = None
) -> Reply:
    """Send one request."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def get(port: int, path: str, **question: object) -> Any:
    """The answer to a question, whose ``from`` is written ``from_``."""
    found = get_reply(port, path, **question)
    assert found.status == 200, found.body
    return found.json


def get_reply(port: int, path: str, **question: object) -> Reply:
    """What comes back for a question."""
    return ask(port, f"{path}?{urlencode({name.rstrip('_'): value for name, value in question.items()})}")


def pages(port: int, path: str, **question: object) -> list[Any]:
    """The items of all pages."""
    found, after = [], ""
    while True:
        page = get(port, path, after=after, **question)
        found += page["items"]
        if page["next"] is None:
            return found
        after = page["next"]
