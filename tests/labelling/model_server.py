"""A model server on loopback that answers as a function says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias, cast

Document: TypeAlias = dict[str, Any]


class Answer(NamedTuple):
    """A status with a body and headers; a text is the content of a chat answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


Script: TypeAlias = Callable[[Document], "Answer | str"]


def chat_answer(text: str, request: Document, *, usage: Document | None = None) -> bytes:
    """A chat answer with log-probabilities where the request asks for them."""
    words = text.split() or [""]
    k = request.get("top_logprobs", 0) if request.get("logprobs") else 0
    top = [{"token": f"t{i}", "logprob": -0.1 - i} for i in range(k)]
    entries = [{"token": word, "logprob": -0.1, "top_logprobs": top} for word in words]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": entries} if k else None,
        "finish_reason": "stop",
    }
    counts = {"prompt_tokens": 20, "completion_tokens": len(words)} if usage is None else usage
    whole = {"id": "served-1", "object": "chat.completion", "created": 1_767_225_000, "model": "served-model"}
    return json.dumps({**whole, "choices": [choice], **({"usage": counts} if counts else {})}).encode()


class Server(ThreadingHTTPServer):
    """Answers `POST` as the script says; `GET` lists one model."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.requests: list[Document] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def prompts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(Answer(b'{"data": [{"id": "served-model"}]}'))

    def do_POST(self) -> None:
        server = cast(Server, self.server)
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(request)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.open += 1
            server.most_open = max(server.most_open, server.open)
        answer = server.script(request)
        with server.lock:
            server.open -= 1
        self._send(Answer(chat_answer(answer, request)) if isinstance(answer, str) else answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    """A server on a free port, until the end of the block."""
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
