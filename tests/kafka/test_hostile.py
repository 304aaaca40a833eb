"""Unusable records become dead letters with reason, bytes and position; all other records are processed."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from kafka import KafkaProducer

from driftgauge.agent.service import build
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Rejected
from tests.kafka.agents import running, settings_for, wait_for
from tests.kafka.conftest import everything_in

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("hostile"),  # so that one worker makes the fixtures of this module, once
]

MAX_BYTES = 200_000
GOOD: dict[str, Any] = {
    "type": "generation", "version": 1, "id": "good-0", "event_time": 1_772_000_000.0, "model": "m", "domain": "law",
    "signal": {"chosen_logprobs": [-0.25, -2.5], "top_logprobs": [[-0.25, -1.75], [-0.125, -2.5]]},
}  # fmt: skip
CHAT: dict[str, Any] = {
    "id": "chat-0", "object": "chat.completion", "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "…"}, "logprobs": {"content": [
        {"token": "a", "logprob": -0.25, "top_logprobs": [{"token": "a", "logprob": -0.25}]}]}}],
}  # fmt: skip
LABEL: dict[str, Any] = {
    "type": "label", "version": 1, "label_id": "l", "response_id": "good-0", "event_time": 1_772_000_000.0,
    "correct": True,
}  # fmt: skip


class Case(NamedTuple):
    """A record, and the reason of its dead letter."""

    value: bytes
    reason: str
    headers: tuple[tuple[str, bytes], ...] = ()


def own(**changed: object) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def packed(**changed: object) -> bytes:
    top_logprobs = b64encode(struct.pack("<4e", -0.25, -1.75, -0.125, -2.5)).decode()
    return own(signal={"packed": {"dtype": "float16", "k": 2, "top_logprobs": top_logprobs, **changed}})


def chat(logprobs: object = None, **changed: object) -> bytes:
    choice = CHAT["choices"][0] if logprobs is None else {**CHAT["choices"][0], "logprobs": logprobs}
    return json.dumps({**CHAT, "choices": [choice], **changed}).encode()


HUGE_K = [{"token": str(i), "logprob": -9.0} for i in range(2_000)]
CASES = {
    "nothing at all": Case(b"", "malformed"),
    "text": Case(b"hello", "malformed"),
    "half an object": Case(own()[:-9], "malformed"),
    "half a chat body": Case(chat()[:200], "malformed"),
    "bytes that are not UTF-8": Case(own().replace(b"law", b"l\xffw"), "malformed"),
    "deep arrays": Case(b"[" * 50_000, "malformed"),
    "deep objects": Case(b'{"choices":' * 10_000 + b"1" + b"}" * 10_000, "malformed"),
    "deep values": Case(own(text=None).replace(b"null", b"[" * 50_000 + b"]" * 50_000), "malformed"),
    "too many bytes": Case(own(text="x" * MAX_BYTES), "too_large"),
    "a number": Case(b"42", "malformed"),
    "an object of an unknown format": Case(b'{"hello": "world"}', "unknown_format"),
    "a signal of the wrong type": Case(own(signal="none"), "invalid_value"),
    "an id of the wrong type": Case(own(id=[7]), "invalid_value"),
    "an empty id": Case(own(id=""), "invalid_value"),
    "a long id": Case(own(id="x" * 10_000), "invalid_value"),
    "choices of the wrong type": Case(chat(choices={"0": 1}), "invalid_value"),
    "entries of the wrong type": Case(chat({"content": [1, 2]}), "invalid_value"),
    "a long chat id": Case(chat(id="x" * 10_000), "invalid_id"),
    "a negative count": Case(own(usage={"completion_tokens": -1}), "invalid_value"),
    "many alternatives": Case(chat({"content": [{"token": "a", "logprob": -0.1, "top_logprobs": HUGE_K}]}),
                              "too_many_alternatives"),
    "many choices": Case(chat(choices=CHAT["choices"] * 200), "too_many_choices"),
    "a k that contradicts the bytes": Case(packed(k=3), "invalid_value"),
    "a huge k": Case(packed(k=2**60), "invalid_value"),
    "a negative k": Case(packed(k=-2), "invalid_value"),
    "no base64": Case(packed(top_logprobs="%%%"), "invalid_value"),
    "half a base64": Case(packed(top_logprobs="AAA"), "invalid_value"),
    "lists of different lengths": Case(own(signal={"chosen_logprobs": [-1.0], "top_logprobs": []}), "invalid_value"),
    "a version of the future": Case(own(version=2), "unknown_version"),
    "a type of the future": Case(own(type="generation.v9"), "unknown_format"),
    "milliseconds for seconds": Case(own(event_time=1_772_000_000_000), "invalid_time"),
    "a time before time": Case(own(event_time=-1.0), "invalid_time"),
    "an error of the server's": Case(b'{"error": {"message": "no", "type": "x"}}', "error_response"),
    "an unknown content type": Case(own(), "unknown_content_type", (("content-type", b"image/png"),)),
    "JSON called MessagePack": Case(own(), "malformed", (("content-type", b"application/msgpack"),)),
    "MessagePack that ends early": Case(b"\x85\xa4type", "malformed", (("content-type", b"application/msgpack"),)),
    "a MessagePack length beyond the end": Case(b"\xdf\xff\xff\xff\xff", "malformed",
                                                (("content-type", b"application/msgpack"),)),
    "a label beyond its range": Case(json.dumps({**LABEL, "correct": 1.5}).encode(), "labels_out_of_scale"),
    "a label for nothing": Case(json.dumps({**LABEL, "response_id": ""}).encode(), "invalid_value"),
    "a label with probability 0": Case(json.dumps({**LABEL, "inclusion_probability": 0}).encode(), "invalid_value"),
}  # fmt: skip


class Outcome(NamedTuple):
    """The published dead letters, and the content of the store."""

    letters: list[Any]
    topic: str
    stored: set[str]
    n_kept: int


@pytest.fixture(scope="module", params=[0, 1], ids=["alone", "with a reader"])
def outcome(broker: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Outcome:
    """Run an agent on all cases, each followed by a good response."""
    settings = settings_for(
        broker,
        tmp_path_factory.mktemp("hostile"),
        decode__limits__max_bytes=MAX_BYTES,
        kafka__readers=request.param,
    )
    topic, letters = settings.kafka.topics.generations[0], settings.kafka.topics.dead_letters
    create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
    _fill(broker, topic)
    with running(settings) as agent:
        wait_for(agent, {topic: 2 * len(CASES)})
        with agent.store.transaction() as transaction:
            stored = set(transaction.responses([f"good-{i}" for i in range(len(CASES))]))
        kept = agent.store.newest(Rejected, 1_000)
    return Outcome(everything_in(broker, letters), topic, stored, len(kept))


def _fill(broker: str, topic: str) -> None:
    with closing(KafkaProducer(bootstrap_servers=broker)) as producer:
        for i, (name, case) in enumerate(CASES.items()):
            producer.send(topic, case.value, name.encode(), headers=list(case.headers), partition=0)
            producer.send(topic, own(id=f"good-{i}"), b"good", partition=0)
        producer.flush()


@pytest.mark.parametrize("name", CASES)
def test_an_unusable_record_becomes_a_dead_letter_with_reason_bytes_and_position(name: str, outcome: Outcome) -> None:
    offset, case = 2 * list(CASES).index(name), CASES[name]
    (letter,) = [letter for letter in outcome.letters if letter.key == name.encode()]
    headers = dict(letter.headers)
    assert headers["driftgauge-reason"].decode() == case.reason
    assert letter.value == case.value
    assert headers["driftgauge-topic"].decode() == outcome.topic
    assert (headers["driftgauge-partition"], headers["driftgauge-offset"]) == (b"0", str(offset).encode())
    assert all(headers[f"original-{name}"] == value for name, value in case.headers)
    assert 0 < len(headers["driftgauge-detail"]) < 400


def test_the_agent_processes_every_usable_record_between_unusable_ones(outcome: Outcome) -> None:
    assert outcome.stored == {f"good-{i}" for i in range(len(CASES))}
    assert len(outcome.letters) == outcome.n_kept == len(CASES)
