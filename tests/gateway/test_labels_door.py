"""Labels by HTTP: what is accepted, what is refused with a clear reason, and what the agent then reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.gateway.door import Answer
from driftgauge.agent.gateway.labels_door import LabelsDoor
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.posted import MAX_LABELS, MAX_LABELS_BYTES, MAX_NAMED
from driftgauge.models.events import Label
from driftgauge.models.labels import resolve

TOKEN, NOW = "planted-token", 1_767_607_200.0


class Taken:
    """A queue that takes a number of messages."""

    def __init__(self, room: int = 10**9) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.room = room

    def put(self, key: bytes, value: bytes) -> bool:
        if len(self.messages) < self.room:
            self.messages.append((key, value))
            return True
        return False

    def labels(self) -> list[Label]:
        """The labels as the agent decodes them."""
        headers = (("content-type", b"application/msgpack"),)
        records = [Record("labels", 0, n, key, value, headers) for n, (key, value) in enumerate(self.messages)]
        decoded = Decoder().decode(records)
        assert all(isinstance(event, Label) for event in decoded)
        return [event for event in decoded if isinstance(event, Label)]


def post(document: Any, taken: Taken | None = None, **more: Any) -> Answer:
    door = LabelsDoor((taken or Taken()).put, token=TOKEN, **more)
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return door.answer(f"Bearer {TOKEN}", body, now=NOW)


def test_the_agent_reads_a_label_as_it_was_sent() -> None:
    taken = Taken()
    sent = {"label_id": "l-1", "response_id": "r-1", "event_time": NOW - 60, "correct": 0.5, "annotator_kind": "code"}
    assert post({"type": "label", **sent, "annotator_id": "tests", "inclusion_probability": 0.1}, taken).status == 202
    (label,) = taken.labels()
    assert (label.label_id, label.response_id, label.event_time, label.correct) == ("l-1", "r-1", NOW - 60, 0.5)
    assert (label.annotator_kind, label.annotator_id, label.inclusion_probability) == ("code", "tests", 0.1)
    assert taken.messages[0][0] == b"r-1"


def test_a_thumbs_up_needs_only_the_response_and_a_later_thumbs_down_corrects_it() -> None:
    taken = Taken()
    for correct in (True, False):
        assert post({"response_id": "r-1", "correct": correct}, taken).status == 202
    up, down = taken.labels()
    assert (up.label_id, up.event_time, up.correct) == (down.label_id, NOW, 1.0)
    assert down.correct == 0.0


def test_a_field_that_is_null_counts_as_left_out() -> None:
    taken = Taken()
    left_out = ("label_id", "event_time", "annotator_kind", "annotator_id", "source", "scale", "version")
    assert post({"response_id": "r-1", "correct": True, **dict.fromkeys(left_out)}, taken).status == 202
    assert post({"response_id": "r-1", "correct": True}, taken).status == 202
    first, second = taken.labels()
    assert first == second
    assert post({"response_id": "r-1", "correct": None, "supersedes": None}).status == 422


def test_verdicts_of_different_annotators_are_different_labels() -> None:
    taken = Taken()
    for more in (
        {},
        {"annotator_id": "a"},
        {"annotator_kind": "code"},
        {"annotator_kind": "code", "annotator_id": "a"},
    ):
        post({"response_id": "r-1", "correct": True, **more}, taken)
    post({"response_id": "r-2", "correct": True}, taken)
    assert len({label.label_id for label in taken.labels()}) == 5


def test_a_list_is_taken_as_a_whole_or_not_at_all() -> None:
    taken = Taken()
    good, bad = {"response_id": "r", "correct": True}, {"response_id": "", "correct": True}
    assert post([good, good], taken) == Answer(202, b'{"accepted":2}', "accepted")
    answer = post([good, bad], taken)
    assert (answer.status, answer.outcome) == (422, "invalid_value")
    assert b"label 1 of the list" in answer.body
    assert len(taken.messages) == 2


@pytest.mark.parametrize("last", [True, False])
def test_of_several_verdicts_in_a_list_the_last_one_counts(last: bool) -> None:
    taken = Taken()
    post([{"response_id": "r", "correct": correct} for correct in (last, not last, last)], taken)
    truth = resolve(taken.labels())
    assert truth is not None
    assert truth.correct == float(last)


def test_the_answer_names_unknown_fields_of_accepted_labels() -> None:
    taken = Taken()
    label = {"response_id": "r", "correct": True}
    answer = post([label, {**label, "inclusion_probabilty": 0.5}, {**label, "extra": 1}], taken)
    assert answer == Answer(202, b'{"accepted":3,"ignored_fields":["extra","inclusion_probabilty"]}', "accepted")
    assert len(taken.labels()) == 3
    many = {**label, **{f"field-{n}": n for n in range(1000)}}
    assert len(msgspec.json.decode(post(many).body)["ignored_fields"]) == MAX_NAMED


def test_scores_are_read_on_the_scale_of_the_settings() -> None:
    taken = Taken()
    assert post({"response_id": "r", "correct": 4}, taken, scale=LabelScale((1, 5))).status == 202
    assert taken.labels()[0].correct == 0.75
    refused = post({"response_id": "r", "correct": 4})
    assert (refused.status, refused.outcome) == (422, "labels_out_of_scale")
    assert b"labels.scale" in refused.body


@pytest.mark.parametrize(
    "authorization", ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_only_the_token_opens_the_door(authorization: str) -> None:
    taken = Taken()
    answer = LabelsDoor(taken.put, token=TOKEN).answer(authorization, b'{"response_id": "r", "correct": true}', now=NOW)
    assert (answer.status, answer.outcome, taken.messages) == (401, "unauthorized", [])


def test_a_door_without_a_token_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="token"):
        LabelsDoor(lambda *_: True, token="")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"", 400), (b"\xff", 400), (b"[" * 100_000, 400),
        (b"null", 422), (b"3", 422), (b"{}", 422), (b"[3]", 422), (b"[[]]", 422),
        (b'{"response_id": "r"}', 422), (b'{"response_id": "r", "correct": []}', 422),
        (b'{"response_id": "r", "correct": null}', 422), (b'{"response_id": "a\\u0000", "correct": true}', 422),
        (b'{"type": "generation", "response_id": "r", "correct": true}', 422),
        (b'{"version": 2, "response_id": "r", "correct": true}', 422),
        (b'{"response_id": "r", "correct": true, "inclusion_probability": 2}', 422),
        (b" " * (MAX_LABELS_BYTES + 1), 413),
        (b"[" + b",".join([b"{}"] * (MAX_LABELS + 1)) + b"]", 413),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_no_label_is_refused_with_a_reason(body: bytes, status: int) -> None:
    taken = Taken()
    answer = post(body, taken)
    assert (answer.status, taken.messages) == (status, [])
    assert {*msgspec.json.decode(answer.body)} == {"error", "detail"}


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.floats(allow_nan=False), st.lists).map(msgspec.json.encode)
)
def test_no_body_raises_an_error(body: bytes) -> None:
    assert post(body).status in (400, 422, 202)


def test_a_full_queue_is_an_error_that_says_to_send_again() -> None:
    answer = post([{"response_id": "r", "correct": True}] * 3, Taken(room=2))
    assert (answer.status, answer.outcome) == (503, "outbox_full")


def test_an_error_does_not_repeat_what_was_sent() -> None:
    secret = "planted-hunter2"
    for document in ({secret: 1}, {"response_id": "r", "correct": secret}, {"response_id": [secret], "correct": True}):
        answer = post(document)
        assert answer.status == 422
        assert secret.encode() not in answer.body
