"""Labels and events by HTTP: what is refused, and what a real agent makes of the rest."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from kafka import KafkaAdminClient

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.publishing import Publishing
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Message
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.api.serving import Reply, api_on, ask
from tests.deadline import until
from tests.kafka.agents import running, settings_for

JSON = {"content-type": "application/json"}


def body_of_openai(response_id: str) -> dict[str, Any]:
    """What a model server answers."""
    tokens = [
        {
            "token": "a",
            "logprob": -0.1,
            "top_logprobs": [{"token": t, "logprob": p} for t, p in (("a", -0.1), ("b", -3))],
        }
        for _ in range(5)
    ]
    return {
        "id": response_id,
        "object": "chat.completion",
        "created": 1_767_607_200,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "aaaaa"},
                "finish_reason": "stop",
                "logprobs": {"content": tokens},
            }
        ],
    }


def post(port: int, path: str, content: Any, headers: dict[str, str] | None = None) -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(port, path, headers or JSON, method="POST", body=body)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The API without a broker."""
    path = tmp_path_factory.mktemp("posting") / "empty.db"
    open_store(f"sqlite:///{path}", topics=Topics()).close()
    with api_on(path, kafka__bootstrap_servers=["127.0.0.1:1"], kafka__connect_timeout_s=0.2) as opened:
        yield opened


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"{", 400, "the body is not JSON"),
        ({"correct": True}, 422, "response_id"),
        ([{"response_id": "r", "correct": True}, {"response_id": "r"}], 422, "label 1 of the list: "),
        ([{"response_id": "r", "correct": True}] * 1_001, 413, "a request has at most 1000 labels"),
        ({"response_id": "r", "correct": "excellent"}, 422, ""),
        ("text", 422, ""),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_the_reason(
    port: int, content: Any, status: int, error: str
) -> None:
    reply = post(port, "/v1/labels", content)
    assert reply.status == status
    assert error in reply.json["errors"][0]


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"{", 422, "malformed"),
        ({"some": "thing"}, 422, "unknown_format"),
        (b"", 422, ""),
        (b"[]", 422, "an empty array"),
        ([body_of_openai("r-1"), {"some": "thing"}], 422, "unknown_format"),
        (
            {
                "type": "label", "version": 1, "label_id": "l", "response_id": "r", "correct": True,
                "event_time": "2026-01-05T10:00:00Z",
            },
            422,
            "labels are posted to /v1/labels",
        ),
    ],
)  # fmt: skip
def test_events_that_cannot_be_used_are_refused_as_a_whole(port: int, content: Any, status: int, error: str) -> None:
    reply = post(port, "/v1/events", content)
    assert reply.status == status
    assert any(error in text for text in reply.json["errors"])


def test_a_large_body_is_refused_before_it_is_read_whole(port: int) -> None:
    assert post(port, "/v1/labels", b" " * (2**20 + 1)).status == 413


def test_without_a_broker_nothing_is_accepted(port: int) -> None:
    for path, content in (("/v1/labels", {"response_id": "r", "correct": True}), ("/v1/events", body_of_openai("r"))):
        reply = post(port, path, content)
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert "no Kafka broker" in reply.json["detail"]


def test_no_request_waits_for_ever_after_a_failure_of_another_kind() -> None:
    def broken() -> NoReturn:
        raise RuntimeError("hunter2")

    async def publish(publishing: Publishing) -> None:
        for _ in range(2):
            with pytest.raises(Problem, match="publishing failed") as raised:
                await asyncio.wait_for(publishing.publish([Message(0, "labels", b"r", b"{}")]), 30)
            assert raised.value.status == 500

    asyncio.run(publish(Publishing(broken)))


def test_a_rollback_needs_an_agent_and_a_version(port: int) -> None:
    path = "/v1/classifiers/rollback"
    assert post(port, path, {"fingerprint": "f", "version": 1}).status == 409
    assert post(port, path, {"fingerprint": "f"}).json["errors"] == ["version: Field required"]


@pytest.mark.kafka
def test_what_is_posted_reaches_the_estimates(broker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(broker, tmp_path, server__enabled=True, server__port=0, windows__emit_every_labels=1)
    smallest = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "20000"}}
    with closing(KafkaAdminClient(bootstrap_servers=broker)) as admin:
        admin.create_topics({settings.kafka.topics.generations[0]: smallest})
    with caplog.at_level(logging.INFO, "driftgauge"), running(settings):
        port = next(int(text.rpartition(":")[2]) for text in caplog.messages if text.startswith("dashboard, API"))
        sent = [post(port, "/v1/events?domain=law", body_of_openai(f"r-{number}")) for number in range(3)]
        assert [reply.json for reply in sent] == [{"accepted": 1, "response_ids": [f"r-{n}"]} for n in range(3)]
        until(lambda: labels_of(settings) == (3, 0))
        label = {"response_id": "r-1", "correct": False, "anotator_id": "a", "event_time": 1_767_607_300}
        for _ in range(2):  # the second time it is the same label
            assert post(port, "/v1/labels", label).json == {"accepted": 1, "ignored_fields": ["anotator_id"]}
        until(lambda: labels_of(settings) == (3, 1))
        too_large = {**body_of_openai("r-9"), "padding": "x" * 30_000}
        assert post(port, "/v1/events", too_large).status == 413
        until(lambda: row(port)["n_labels"] == 1)
        assert (row(port)["domain"], row(port)["n_events"]) == ("law", 3)
        labels = ask(port, "/v1/responses/one?id=r-1").json["labels"]
        assert [(label["label_id"], label["correct"]) for label in labels] == [("r-1/human/", 0.0)]
        assert ask(port, "/v1/health").json["agent"]["ready"]


def labels_of(settings: Settings) -> tuple[int, int]:
    queries = open_queries(settings.store.url.get_secret_value())
    counts = queries.counts(0, 1e12).values()
    queries.close()
    return sum(count.n_events for count in counts), sum(count.n_labels for count in counts)


def row(port: int) -> Any:
    (found,) = ask(port, "/v1/domains").json["items"] or [{"n_labels": -1}]
    return found
