"""A small model server that speaks OpenAI's chat API, and does with requests for log-probabilities as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, cast

N_TOKENS = 4
Document: TypeAlias = dict[str, Any]
Refusal: TypeAlias = Callable[[Document], "str | None"]
"""What a server does with a request that asks: ``refuse``, ``ignore``, ``first`` (only the first token), ``fewer``
(alternatives than asked for), ``die``; None: it does as it is asked."""


def k_of(document: Document) -> int | None:
    """The k that a chat request asks for."""
    return document["top_logprobs"] if document.get("logprobs") else None


def entries(k: int, n: int) -> list[Document]:
    top = [{"token": f"t{i}", "bytes": None, "logprob": -0.1 - i} for i in range(k)]
    return [{"token": "t0", "bytes": None, "logprob": -0.1, "top_logprobs": top}] * n


class Server(ThreadingHTTPServer):
    """A chat server; it does not know the other endpoints."""

    daemon_threads = True

    def __init__(self, behaviour: Refusal) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.requests: list[Document] = []
        self.keys: set[str | None] = set()
        self.is_dead = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, document: Document) -> tuple[int, bytes]:
        k, does = k_of(document), None
        if k is not None:
            does = self.behaviour(document)
        if does == "refuse":
            return 400, b'{"error": {"message": "logprobs is not supported here"}}'
        n_logprobs = {"ignore": 0, "first": 1}.get(does or "", N_TOKENS if k is not None else 0)
        logprobs = {"content": entries(1 if does == "fewer" else k or 0, n_logprobs)} if n_logprobs else None
        head = {"id": "c-1", "created": 1_767_607_200, "model": document["model"]}
        usage = {"prompt_tokens": 3, "completion_tokens": N_TOKENS * document.get("n", 1)}
        if not document.get("stream"):
            message = {"role": "assistant", "content": "Red, green, blue"}
            choices = [
                {"index": i, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
                for i in range(document.get("n", 1))
            ]
            return 200, json.dumps({**head, "object": "chat.completion", "choices": choices, "usage": usage}).encode()
        choice = {"index": 0, "delta": {"content": "Red"}, "logprobs": logprobs, "finish_reason": "stop"}
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice], "usage": usage}, "[DONE]"]
        lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
        return 200, "".join(f"data: {line}\n\n" for line in lines).encode()


class Handler(BaseHTTPRequestHandler):
    @property
    def here(self) -> Server:
        return cast(Server, self.server)

    def do_GET(self) -> None:
        self.here.keys.add(self.headers["authorization"])
        self._send(200, b'{"object": "list", "data": [{"id": "served"}, {"id": "other"}]}')

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.here.requests.append(document)
        self.here.keys.add(self.headers["authorization"])
        if k_of(document) is not None and self.here.behaviour(document) == "die":
            self.here.is_dead = True
        if self.here.is_dead:
            self.connection.close()
        elif self.path != "/v1/chat/completions":
            self._send(404, b'{"detail": "Not Found"}')
        else:
            self._send(*self.here.answer(document))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def serving(behaviour: Refusal = lambda _: None) -> Iterator[Server]:
    with Server(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
