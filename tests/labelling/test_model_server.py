"""How long a busy model server is waited for, and what of its answers is read."""

from __future__ import annotations

import email.utils
import json
import socketserver
import threading
import time
from contextlib import suppress

import pytest

from driftgauge.connectors.http_exchange import MAX_ANSWER_BYTES
from driftgauge.connectors.model_server import (
    CHAT,
    LONGEST_WAIT_S,
    ModelServer,
    patient_exchange,
    read_chat_answer,
)
from tests.labelling.model_server import Answer, Document, chat_answer, serving


def waits(*answers: Answer, attempts: int = 4) -> tuple[int, list[float]]:
    """The last status, and the seconds that were waited before each further request."""
    waited: list[float] = []

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        return False

    left = iter(answers)
    with serving(lambda _: next(left)) as server:
        asked = ModelServer(server.address, timeout_s=10)
        reply = patient_exchange(lambda: asked.exchange("POST", CHAT, b"{}"), pause, attempts=attempts)
    assert next(left, None) is None
    return reply.status, waited


def busy(after: str = "", status: int = 429) -> Answer:
    return Answer(b"", status, {"retry-after": after} if after else {})


FINE = Answer(b"{}")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([FINE], (200, [])),
        ([Answer(b"", 400)], (400, [])),
        ([busy(), busy(status=503), FINE], (200, [1, 2])),
        ([busy("0"), busy("30"), FINE], (200, [0, 30])),
        ([busy("soon"), FINE], (200, [1])),
        ([busy("Thu, 01 Jan 2026 00:00:00 GMT"), FINE], (200, [0])),
        ([busy(status=500)] * 4, (500, [1, 2, 4])),
        ([busy(str(int(LONGEST_WAIT_S) + 1))], (429, [])),
        ([busy(email.utils.formatdate(time.time() + 86_400, usegmt=True))], (429, [])),
    ],
)
def test_a_server_is_waited_for_as_long_as_it_asks_within_a_bound(
    answers: list[Answer], expected: tuple[int, list[float]]
) -> None:
    assert waits(*answers) == expected


def test_no_further_request_is_sent_once_the_caller_wants_none() -> None:
    with serving(lambda _: busy()) as server:
        asked = ModelServer(server.address, timeout_s=10)
        assert patient_exchange(lambda: asked.exchange("POST", CHAT, b"{}"), lambda _: True).status == 429
        assert len(server.requests) == 1


def test_an_answer_is_read_up_to_the_bound() -> None:
    with serving(lambda _: Answer(b"x" * (MAX_ANSWER_BYTES + 1))) as server:
        assert len(ModelServer(server.address, timeout_s=60).exchange("POST", CHAT, b"{}").body) == MAX_ANSWER_BYTES


def test_an_answer_that_never_ends_is_given_up() -> None:
    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            with suppress(ConnectionError):
                while True:
                    self.request.sendall(b" ")
                    time.sleep(0.001)  # slower than the bound of the size is reached

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        reply = ModelServer(f"http://127.0.0.1:{server.server_address[1]}", timeout_s=0.2).exchange("POST", CHAT, b"{}")
        server.shutdown()
    assert reply.status == 0


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": "5"}, {"prompt_tokens": 1.5}]
)
def test_counts_that_are_none_make_an_answer_unreadable(usage: Document) -> None:
    assert read_chat_answer(chat_answer("4", {}, usage=usage)) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": []}', b"\xff", b'{"choices": [{"message": null}]}'])
def test_what_is_no_chat_answer_is_none(body: bytes) -> None:
    assert read_chat_answer(body) is None


def test_a_message_without_content_is_an_empty_text() -> None:
    body = json.dumps({"choices": [{"message": {"content": None}}]}).encode()
    assert read_chat_answer(body) == ("", None, None)
