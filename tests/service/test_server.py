"""The HTTP server answers health, readiness and metrics, and bounds its clients."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from driftgauge.agent.outlets.health import Health, routes
from driftgauge.agent.outlets.http import MAX_CONNECTIONS, Response, Server, listen, pages
from driftgauge.connectors.base import ConnectorError


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def get(server: Server, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def broken() -> Response:
    raise RuntimeError("hunter2")


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[Server]:
    registry = CollectorRegistry()
    Gauge("driftgauge_test", "A gauge.", registry=registry).set(3)
    server = Server(pages({**routes(health, registry), "/broken": broken}), listen("127.0.0.1", 0))
    yield server
    server.close()


def test_the_agent_is_ready_only_while_the_loop_runs_without_failure(server: Server, health: Health) -> None:
    assert get(server, "/readyz")[0] == 503
    health.failure(None)
    assert get(server, "/readyz")[0] == 200
    health.failure(ConnectorError("broker a:9092 is away", retriable=True))
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "broker a:9092 is away")
    health.failure(None)
    assert get(server, "/readyz")[0] == 200


def test_the_agent_is_alive_until_the_loop_does_not_report_for_too_long() -> None:
    clock = Clock()
    health = Health(stuck_after_s=300, now=clock)
    clock.time = 300
    assert health.healthz().status == 200
    clock.time = 301
    assert health.healthz().status == 503
    health.failure(ConnectorError("away", retriable=True))  # a loop that waits is alive
    assert health.healthz().status == 200


def test_the_metrics_page_shows_the_registry(server: Server) -> None:
    status, body = get(server, "/metrics?x=1")
    assert status == 200
    assert b"driftgauge_test 3.0" in body


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/../etc/passwd", "GET", 404), ("/healthz", "POST", 405), ("/healthz", "HEAD", 200)],
)
def test_unknown_paths_and_methods_are_refused(server: Server, path: str, method: str, status: int) -> None:
    assert get(server, path, method)[0] == status


def test_a_failing_route_answers_500_without_details(server: Server) -> None:
    status, body = get(server, "/broken")
    assert status == 500
    assert b"hunter2" not in body
    assert get(server, "/healthz")[0] == 200


def test_requests_beyond_the_bound_of_connections_are_refused(server: Server) -> None:
    idle = [socket.create_connection((server.host, server.port)) for _ in range(MAX_CONNECTIONS)]
    assert get(server, "/healthz")[0] == 503
    for client in idle:
        client.close()
    has_answer = threading.Event()

    def request_until_answered() -> None:
        while not has_answer.is_set():
            try:
                if get(server, "/healthz")[0] == 200:
                    has_answer.set()
            except (OSError, http.client.HTTPException):
                continue

    thread = threading.Thread(target=request_until_answered)
    thread.start()
    assert has_answer.wait(10)
    thread.join()


def test_a_port_in_use_is_a_clear_error(server: Server) -> None:
    with pytest.raises(ConnectorError, match=f"cannot listen on 127.0.0.1:{server.port}: another process"):
        listen("127.0.0.1", server.port)
    with pytest.raises(ConnectorError, match=r"cannot listen on 192.0.2.1:80: Cannot assign requested address$"):
        listen("192.0.2.1", 80)


def test_the_body_of_an_answer_does_not_wait_for_the_client_to_acknowledge_the_headers() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_can_be_closed_twice() -> None:
    server = Server(pages({}), listen("127.0.0.1", 0))
    server.close()
    server.close()
