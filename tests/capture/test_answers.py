"""Captured answers: the packed event of an answer says what the agent reads from the answer itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of
from driftgauge.models.events import Context, Generation
from tests.decode.payloads import Fixture, fixtures

HEADERS = (("content-type", b"application/msgpack"),)
ANSWERS = [f for f in fixtures() if not f.headers and f.expected["format"] not in (None, "driftgauge")]
ENTRIES = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}]}]


def answer(**more: Any) -> bytes:
    choice = {"index": 0, "message": {"content": "secret"}, "finish_reason": "stop", "logprobs": {"content": ENTRIES}}
    return json.dumps({"id": "r", "object": "chat.completion", "model": "m", "choices": [choice], **more}).encode()


def agent_reads(events: list[tuple[bytes, bytes]]) -> list[Generation]:
    records = [Record("t", 0, i, key, value, HEADERS) for i, (key, value) in enumerate(events)]
    return [event for event in Decoder().decode(records) if isinstance(event, Generation)]


@pytest.mark.parametrize("fixture", ANSWERS, ids=str)
def test_the_event_of_an_answer_says_what_the_answer_says(fixture: Fixture) -> None:
    value = fixture.path.read_bytes()
    events: list[tuple[bytes, bytes]] = []
    Tap(lambda key, value: events.append((key, value))).take(value, 1.7e9)
    raw = Decoder().decode([Record("t", 0, 0, None, value, (), 1.7e9)])
    expected = [one for one in choices_of(raw) if one["n_tokens"] and one["complete"]]
    found = list(choices_of(agent_reads(events)))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("model", "finish_reason", "n_tokens", "n_logprobs", "n_censored", "n_missing", "k"):
            assert one[name] == other[name], name
        for name in ("mean_chosen_logprob", "mean_entropy", "mean_tail_mass"):
            assert one[name] == (other[name] and pytest.approx(other[name], abs=5e-3, rel=5e-3)), name
        assert one["segments"].get("reasoning") == other["segments"].get("reasoning")
        names = [name for found in agent_reads(events) for name in (found.id, *found.aliases)]
        assert other["id"] in names or other["id"].startswith("t/0/0")


def published(value: bytes, tap_options: dict[str, Any] | None = None, **more: Any) -> list[Generation]:
    events: list[tuple[bytes, bytes]] = []
    Tap(lambda key, value: events.append((key, value)), **tap_options or {}).take(value, 1.7e9, **more)
    assert all(b"secret" not in value for _, value in events)
    return agent_reads(events)


@pytest.mark.parametrize("name", ["", None, "chatcmpl-520", "cmpl-7", "resp_99", "12"])
def test_responses_of_servers_that_name_none_or_repeat_their_ids_stay_apart(name: str | None) -> None:
    value = answer(id=name)
    found = [one for _ in range(2) for one in published(b"[%s,%s]" % (value, value))]
    assert len({one.id for one in found}) == 4
    assert all(one.id != name and name in (*one.aliases, "", None) for one in found)


def test_the_context_is_that_of_the_answer_then_of_the_request_then_of_the_tap() -> None:
    request = (
        b'{"messages": [{"content": "secret"}], "top_logprobs": 5, "temperature": 0.3, "top_p": 0.9, "model": "x"}'
    )
    known = Context(model="other", model_revision="r2", temperature=1.0, logprobs_mode="raw_logprobs")
    (response,) = published(answer(), {"context": known}, request=request)
    assert response.context == Context("m", "r2", 0.3, 0.9, "raw_logprobs", 5)


def test_the_domain_is_that_of_the_call_then_of_the_request_then_of_the_answer_then_of_the_tap() -> None:
    said, request = answer(metadata={"domain": "answer"}), b'{"metadata": {"domain": "request"}}'
    options = {"domain": "tap"}
    assert [one.domain for one in published(said, options, request=request, domain="call")] == ["call"]
    assert [one.domain for one in published(said, options, request=request)] == ["request"]
    assert [one.domain for one in published(said, options)] == ["answer"]
    assert [one.domain for one in published(answer(), options, request=b"not JSON")] == ["tap"]
    assert [one.domain for one in published(answer())] == ["default"]


def test_what_gives_no_event_is_counted_by_reason() -> None:
    tap = Tap(lambda *_: True, max_bytes=10_000)
    stream = b"data: " + answer().replace(b'"message"', b'"delta"').replace(b'"stop"', b"null").replace(
        b".completion", b".completion.chunk"
    )
    for value in (b'{"choices": []}', b"{prob", b"[" + b" " * 10_000 + b'"prob"]', stream, answer()):
        tap.take(value, 1.7e9)
    assert tap.counts == {"no_logprobs": 1, "malformed": 1, "too_large": 1, "incomplete": 1, "published": 1}


def test_a_full_queue_and_a_failure_are_counted_and_reach_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: object) -> None:
        raise OSError("secret")

    full, failing = Tap(lambda *_: False), Tap(fails)
    for tap in (full, failing, failing):
        tap.take(answer(), 1.7e9)
    assert (full.counts, failing.counts) == ({"refused": 1}, {"failed": 2})
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_texts_are_in_events_only_where_they_are_asked_for() -> None:
    events: list[bytes] = []
    Tap(lambda _, value: events.append(value), keep_text=True).take(answer(), 1.7e9)
    assert b"secret" in events[0]
