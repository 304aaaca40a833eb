"""Webhooks: who may send them, which labels are in them, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from driftgauge.agent.annotation import receiver
from driftgauge.agent.annotation.hooks import MAX_BYTES, Check, Hook, bearer_secret, standard_webhooks
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.models.events import Label
from tests.annotation.label_studio import FIXTURES
from tests.deadline import until
from tests.labels.test_presets import FIXTURES as LABELS

NOW = 1_800_000_000.0
BEARER = {"authorization": "Bearer planted"}
SECRET = base64.b64encode(b"planted").decode()
LABEL_STUDIO = (FIXTURES / "label_studio_hooks.jsonl").read_bytes().splitlines()
ARGILLA = (LABELS / "argilla_webhooks.jsonl").read_bytes().splitlines()


class Taken:
    """What a hook took, and how often it asked for a pass of polling."""

    def __init__(self, name: str, check: Check, *, is_full: bool = False) -> None:
        self.labels: list[Label] = []
        self.wakes = 0
        self.is_full = is_full
        self.hook = Hook(name, check, PRESETS[name], self.put, wake=self.wake)

    def put(self, labels: Sequence[Label]) -> bool:
        if not self.is_full:
            self.labels.extend(labels)
        return not self.is_full

    def wake(self) -> None:
        self.wakes += 1


def label_studio(*, is_full: bool = False) -> Taken:
    return Taken("label-studio", bearer_secret("planted"), is_full=is_full)


def signed(body: bytes, *, name: str = "m-1", now: float = NOW, key: bytes = b"planted") -> dict[str, str]:
    moment = str(int(now))
    signature = base64.b64encode(hmac.digest(key, f"{name}.{moment}.".encode() + body, "sha256")).decode()
    return {"webhook-id": name, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}


def test_webhooks_of_label_studio_give_labels_and_a_deletion_asks_for_a_pass() -> None:
    taken = label_studio()
    assert {taken.hook.answer(BEARER, body, NOW).status for body in LABEL_STUDIO} == {200}
    found = [(one.label_id, one.response_id, one.correct, one.inclusion_probability) for one in taken.labels]
    assert found == [
        ("label-studio/2", "r-1", 0.0, 0.05),
        ("label-studio/2", "r-1", 1.0, 0.05),
        ("label-studio/3", "r-1", 0.0, 0.05),
        ("label-studio/4", "r-2", None, 0.05),
    ]
    assert taken.wakes == 1


def test_signed_webhooks_of_argilla_give_labels_and_withdrawals() -> None:
    taken = Taken("argilla", standard_webhooks((FIXTURES / "argilla_secret.txt").read_text().strip()))
    for line in (FIXTURES / "argilla_hooks.jsonl").read_text().splitlines():
        recorded = json.loads(line)
        now = float(recorded["headers"]["webhook-timestamp"])
        assert taken.hook.answer(recorded["headers"], recorded["body"].encode(), now).status == 200
    assert [(one.response_id, one.correct, one.inclusion_probability) for one in taken.labels] == [
        ("law-0", 0.0, 0.1),
        ("law-2", 0.0, 0.1),
        ("law-0", 1.0, 0.1),
        ("law-2", None, 0.1),
    ]
    assert len({one.label_id for one in taken.labels}) == 2


def test_a_webhook_sent_again_gives_the_same_label() -> None:
    taken = Taken("argilla", standard_webhooks(SECRET))
    for _ in range(2):
        assert taken.hook.answer(signed(ARGILLA[1]), ARGILLA[1], NOW).status == 200
    first, second = taken.labels
    assert first == second


def test_the_published_example_of_a_signature_is_accepted() -> None:
    check = standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert check(headers, b'{"test": 2432232314}', 1614265330.0)


GOOD = signed(ARGILLA[1])


@pytest.mark.parametrize(
    "headers",
    [
        GOOD | {"webhook-signature": "v1,AAAA"},
        GOOD | {"webhook-signature": "v1,ü v1"},
        GOOD | {"webhook-signature": ""},
        GOOD | {"webhook-id": "m-2"},
        GOOD | {"webhook-timestamp": str(int(NOW) + 1)},
        GOOD | {"webhook-timestamp": "9" * 5_000},
        GOOD | {"webhook-timestamp": "now"},
        {},
        signed(ARGILLA[1], key=b"other"),
        signed(ARGILLA[1], now=NOW - 301),
        signed(ARGILLA[1], now=NOW + 301),
        signed(ARGILLA[2]),
    ],
)
def test_a_webhook_of_argilla_with_another_signature_or_time_is_refused(headers: dict[str, str]) -> None:
    taken = Taken("argilla", standard_webhooks(SECRET))
    assert taken.hook.answer(headers, ARGILLA[1], NOW).status == 401
    assert not taken.labels


def test_a_secret_that_is_no_base64_is_an_error() -> None:
    with pytest.raises(ConnectorError, match="must be base64"):
        standard_webhooks("not base64!")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer other"}, {"authorization": "Basic planted"}])
def test_a_webhook_of_label_studio_without_the_secret_is_refused(headers: dict[str, str]) -> None:
    taken = label_studio()
    assert taken.hook.answer(headers, LABEL_STUDIO[1], NOW).status == 401
    assert not taken.labels


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b" " * (MAX_BYTES + 1), 413)]
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes, status: int) -> None:
    assert label_studio().hook.answer(BEARER, body, NOW).status == status


def test_labels_that_cannot_be_queued_are_refused() -> None:
    assert label_studio(is_full=True).hook.answer(BEARER, LABEL_STUDIO[1], NOW).status == 503


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a running receiver of Label Studio's webhooks."""
    stopping, ports = threading.Event(), list[int]()
    work = receiver.serve([label_studio().hook], "127.0.0.1", 0, stopping, ports.append)
    thread = threading.Thread(target=lambda: asyncio.run(work))
    thread.start()
    until(lambda: ports)
    yield ports[0]
    stopping.set()
    thread.join()


def asked(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request(method, path, body, headers)
    answer = client.getresponse()
    found = answer.status, answer.read()
    client.close()
    return found


def test_the_receiver_answers_by_http(port: int) -> None:
    path = "/label-studio"
    assert asked(port, "POST", path, LABEL_STUDIO[1], BEARER) == (200, b'{"labels":1}')
    assert asked(port, "POST", path, LABEL_STUDIO[1], {})[0] == 401
    assert asked(port, "GET", path, b"", BEARER)[0] == 405
    status, body = asked(port, "POST", "/other", b"{}", BEARER)
    assert (status, json.loads(body)["detail"]) == (404, "webhooks are posted to /label-studio")


def test_a_body_that_does_not_end_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "READ_S", 0.05)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /label-studio HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_no_more_of_a_body_is_read_than_is_allowed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /label-studio HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        client.sendall(b" " * (MAX_BYTES + 1))
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_port_that_is_taken_is_an_error(port: int) -> None:
    with pytest.raises(ConnectorError, match=f"cannot listen on 127.0.0.1:{port}"):
        asyncio.run(receiver.serve([], "127.0.0.1", port, threading.Event()))
