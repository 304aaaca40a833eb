"""A receiver of alerts on loopback that can be killed and started again on its port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.outputs import Alert


class Got(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    """What the receiver answers; status 0: it reads the request and breaks the connection."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@contextmanager
def receiving(
    got: list[Got], respond: Callable[[Got], Answer] = lambda _: Answer(), port: int = 0
) -> Iterator[ThreadingHTTPServer]:
    """A server that appends each request to a list."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            if len(body := self.rfile.read(length)) < length:  # the sender was killed
                self.close_connection = True
                return
            request = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            got.append(request)
            answer = respond(request)
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in (*answer.headers, ("content-length", "0")):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=[0.01])
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def raise_alerts(path: Path, alerts: Iterable[Alert]) -> str:
    """The URL of a store with these alerts; they are added to what it has."""
    url = f"sqlite:///{path}"
    store = open_store(url, topics=Topics())
    try:
        with store.transaction() as transaction:
            transaction.emit(list(alerts))
    finally:
        store.close()
    return url
