"""A model server of recorded answers, for real clients: it remembers what it was asked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class Upstream:
    """What the server answers next, and the requests that it got.

    Attributes
    ----------
    answer : the bytes of the answer
    compresses : whether it answers in gzip
    stops_after : bytes of the answer after which it waits for ``goes_on``
    requests : headers and JSON body of each request
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.answer, self.status, self.compresses = b"", 200, False
        self.stops_after, self.goes_on = 0, Event()
        self.requests: list[tuple[dict[str, str], Any]] = []


@contextmanager
def upstream() -> Iterator[Upstream]:
    """A server on a free port, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
            answer = gzip.compress(state.answer) if state.compresses else state.answer
            self.send_response(state.status)
            is_stream = state.answer.startswith((b"data:", b"event:"))
            self.send_header("content-type", "text/event-stream" if is_stream else "application/json")
            if state.compresses:
                self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(answer[: state.stops_after])
                if state.stops_after:
                    state.goes_on.wait(30)
                self.wfile.write(answer[state.stops_after :])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Upstream(server.server_address[1])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
