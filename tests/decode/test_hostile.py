"""Hostile or meaningless bytes: each record becomes exactly one dead letter, and no exception is raised."""

from __future__ import annotations

import json

import pytest

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.models.events import Generation, Rejected
from tests.decode.chat import USUAL, body, chunk, entry, events, reason

ENVELOPE = {"specversion": "1.0", "id": "e", "source": "s", "type": "t"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b'{"choices": [{"logprobs": {"content": [{"token": "\xff", "logprob": -1}]}}]}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"choices": ' + b"[" * 100_000, "malformed"),
        (b'{"metadata": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_001, "malformed"),
        (b'{"choices": [{"logprobs": 5}]}', "invalid_value"),
        (b'{"choices": "many"}', "invalid_value"),
        (b'{"hello": "world"}', "unknown_format"),
        (b"hello world", "malformed"),
        (b"5", "malformed"),
        (b"{}", "unknown_format"),
        (b'{"error": {"message": "overloaded"}}', "error_response"),
        (b'{"object": "error", "message": "bad request", "code": 400}', "error_response"),
        (b'{"id": "e", "specversion": "1.0", "data_base64": "not base64!"}', "malformed"),
        (json.dumps({**ENVELOPE, "data": {"hello": 1}}).encode(), "unknown_format"),
        (json.dumps(body(entry("a", -1.0), id="x" * 600)).encode(), "invalid_id"),
        (json.dumps(body(entry("a", -1.0), id="r\x00")).encode(), "invalid_id"),
    ],
)  # fmt: skip
def test_hostile_bytes_become_one_dead_letter(value: bytes, why: str) -> None:
    assert reason(value) == why


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_bytes=100), "too_large"),
        (Limits(max_tokens=1), "too_many_tokens"),
        (Limits(max_k=2), "too_many_alternatives"),
        (Limits(max_choices=1), "too_many_choices"),
    ],
)
def test_a_record_that_exceeds_a_limit_is_a_dead_letter(limits: Limits, why: str) -> None:
    value = body(*[entry("a", -0.5, USUAL)] * 2)
    value["choices"] *= 2
    assert reason(value, decoder=Decoder(limits=limits)) == why


def test_a_dead_letter_does_not_quote_the_payload() -> None:
    (letter,) = events(b'{"choices": [{"logprobs": {"content": [{"logprob": "secret", "top_logprobs": "secret"}]}}]}')
    assert isinstance(letter, Rejected)
    assert "secret" not in letter.detail


def test_a_dead_letter_keeps_the_place_of_the_record() -> None:
    (letter,) = events(b"{", headers="x")
    assert isinstance(letter, Rejected)
    assert (letter.topic, letter.value, letter.key, letter.headers) == ("t", b"{", b"key", (("headers", b"x"),))


def test_good_documents_of_a_record_are_events_and_all_bad_ones_together_one_dead_letter() -> None:
    found = events([body(entry("a", -0.5)), {"hello": 1}, {"error": "no"}, body(entry("a", -0.5), id="s")])
    assert [type(event) for event in found] == [Generation, Generation, Rejected]
    assert isinstance(found[-1], Rejected)
    assert "(2 of 4)" in found[-1].detail


def test_a_chunk_without_any_id_is_a_dead_letter() -> None:
    assert reason(chunk(entry("a", -0.5)) | {"id": ""}, key=None) == "no_id"


def test_a_record_read_with_an_unknown_format_name_is_a_dead_letter() -> None:
    assert reason(body(entry("a", -0.5)), decoder=Decoder(format="hallo")) == "unknown_format"
