"""Apprise behind the same patience: one attempt a call, nothing lost while its target is down, no secret logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.apprise_target import AppriseTarget
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.store.queries import open_queries
from tests.delivery.loopback import Answer, Got, raise_alerts, receiving
from tests.store.examples import alert

SECRET = "planted-hunter2"


def target(port: int, attempts: int = 100) -> AppriseTarget:
    return AppriseTarget(f"json://user:{SECRET}@127.0.0.1:{port}/hook", attempts=attempts, timeout_s=5.0)


def test_a_message_says_what_happened_and_what_to_do() -> None:
    got = list[Got]()
    with receiving(got) as server:
        outcome = target(server.server_port).send([alert(1, message="p_correct of @here fell")])
    assert outcome.result == "sent"
    (request,) = got
    assert request.json["title"] == "Warning: p_correct of @\u200bhere fell."
    assert request.json["message"] == "What to do: label some responses of the domain."
    assert request.json["type"] == "warning"


@pytest.mark.parametrize("answer", [Answer(503), Answer(404), Answer(302, (("Location", "http://127.0.0.1:1/"),))])
def test_a_failure_is_one_attempt_and_may_succeed_later_until_the_attempts_are_used_up(answer: Answer) -> None:
    got = list[Got]()
    with receiving(got, lambda _: answer) as server:
        made = target(server.server_port, attempts=3)
        results = [made.send([alert(number)]).result for number in (1, 1, 2, 2, 2)]
    assert results == ["later", "later", "later", "later", "never"]
    assert len(got) == 5


def test_a_target_that_dies_in_the_middle_gets_every_alert(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (port,) = free_ports(1)
    alerts = [alert(n, fingerprint=f"f{n}", message=f"number {n}") for n in range(1, 6)]
    got = list[Got]()
    stops: Callable[[float], bool] = lambda _: True  # noqa: E731 - the shape of a pause
    with (
        closing(open_queries(raise_alerts(tmp_path / "gauge.db", alerts))) as queries,
        Cursors(tmp_path / "cursors") as cursors,
    ):
        made = Courier(
            "chat", target(port), queries, cursors,
            wanted=Wanted(), start=0, pause=stops, poll_s=1.0, longest_wait_s=1.0,
        )  # fmt: skip
        with receiving(got, lambda _: Answer(200 if len(got) < 3 else 500), port):
            assert not made.step()
        assert not made.step()  # nobody answers
        with receiving(got, port=port):
            assert made.step()
    titles = [request.json["title"] for request in got]
    assert list(dict.fromkeys(titles)) == [f"Warning: number {n}." for n in range(1, 6)]
    assert SECRET not in caplog.text


def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    with pytest.raises(ConnectorError) as caught:
        AppriseTarget(f"nope://{SECRET}")
    assert SECRET not in str(caught.value)
