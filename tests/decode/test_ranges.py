"""Own events at the border: values that are legal in JSON and absurd are refused or cleaned, and the schemas say so."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.contract import schemas
from driftgauge.models.events import Chunk, Generation, Label
from tests.decode.chat import events, generation, reason, record

SIGNAL = {"chosen_logprobs": [-0.5]}
OWN: dict[str, Any] = {"type": "generation", "id": "r", "event_time": 1.7e9, "signal": SIGNAL}
LABEL: dict[str, Any] = {"type": "label", "label_id": "l", "response_id": "r", "event_time": 1.7e9, "correct": 1}
FEATURES = [0.5] * 17

BEYOND: list[dict[str, Any]] = [
    {**OWN, "token_ids": [2**63]},
    {**OWN, "token_ids": [-(2**63) - 1]},
    {**OWN, "signal": {"features": [1e39, *FEATURES[1:]]}},
    {**OWN, "signal": {"features": [None, -1e39, *FEATURES[2:]]}},
    {**OWN, "signal": {"features": FEATURES[:16]}},
    {**OWN, "signal": {"features": [*FEATURES, 0.5]}},
    {**OWN, "signal": {"features": [0.5] * 23}},
    {**OWN, "signal": {"entropy": [-0.5]}},
    {**OWN, "signal": {"entropy": [65.0]}},
    {**OWN, "signal": {"entropy": [1e38]}},
    {**OWN, "context": {"k": 2**31}},
    {**OWN, "context": {"temperature": -1}},
    {**OWN, "usage": {"completion_tokens": -1}},
    {**OWN, "usage": {"completion_tokens": 2**41}},
    {**OWN, "id": "a\x00b"},
    {**LABEL, "inclusion_probability": 1e-200},
    {**LABEL, "inclusion_probability": 5e-324},
    {**LABEL, "inclusion_probability": 0},
    {**LABEL, "response_id": "a\x00b"},
    {**LABEL, "label_id": "\x07"},
    {**LABEL, "supersedes": "\x00"},
    {**LABEL, "correct": [1.5]},
    {**LABEL, "scale": [1, 2, 3]},
]
WITHIN: list[dict[str, Any]] = [
    {**OWN, "token_ids": [2**63 - 1, -(2**63)]},
    {**OWN, "signal": {"features": [3.4028234663852886e38, *FEATURES[1:]]}},
    {**OWN, "signal": {"features": [0.5] * 22}},
    {**OWN, "signal": {"entropy": [-0.0005, 64, None]}},
    {**OWN, "domain": 42, "slices": {"a": 1, "b": True}, "context": {"model_revision": 7, "k": 0}},
    {**OWN, "id": 17, "event_time": "2026-01-01T00:00:00"},
    {**LABEL, "inclusion_probability": 1e-9},
    {**LABEL, "label_id": 1, "response_id": 2, "correct": "true"},
]


def validator(event: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas()[event["type"]])


@pytest.mark.parametrize("event", BEYOND, ids=lambda event: json.dumps(event)[:110])
def test_an_absurd_value_is_refused_by_the_decoder_and_by_the_schema(event: dict[str, Any]) -> None:
    assert reason(event) in ("invalid_value", "invalid_id")
    assert not validator(event).is_valid(event)


@pytest.mark.parametrize("event", WITHIN, ids=lambda event: json.dumps(event)[:110])
def test_a_value_at_the_end_of_its_range_is_read_and_valid(event: dict[str, Any]) -> None:
    (found,) = events(event)
    assert isinstance(found, Generation | Label)
    assert validator(event).is_valid(event)


def test_an_entropy_slightly_below_zero_is_zero() -> None:
    found = generation({**OWN, "signal": {"entropy": [-0.0005, 0.5]}})
    assert found.signal.entropy is not None
    assert found.signal.entropy.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_messagepack_cannot_smuggle_in_what_json_lacks(value: float) -> None:
    decoder = Decoder(encoding="msgpack")
    for event in (
        {**OWN, "event_time": value},
        {**OWN, "signal": {"entropy": [value]}},
        {**OWN, "signal": {"features": [value, *FEATURES[1:]]}},
        {**LABEL, "inclusion_probability": value},
        {**LABEL, "correct": 0.5, "scale": [value, 1.0]},
        {**LABEL, "correct": value},
    ):
        expected = ("invalid_value", "invalid_time", "labels_out_of_scale")
        assert reason(msgspec.msgpack.encode(event), decoder=decoder) in expected
    found = Decoder(encoding="msgpack").decode([record(msgspec.msgpack.encode({**OWN, "context": {"top_p": value}}))])
    assert not any(isinstance(event, Generation) and event.context.top_p == value for event in found)


@pytest.mark.parametrize("value", [1e39, -1e39, 1e308, 5.0])
def test_a_log_probability_that_cannot_be_is_missing(value: float) -> None:
    found = generation({**OWN, "signal": {"chosen_logprobs": [value, -0.5], "top_logprobs": [[value], [-0.5]]}})
    assert found.signal.chosen_logprobs is not None
    assert np.isnan(found.signal.chosen_logprobs[0])
    assert not np.isinf(found.signal.chosen_logprobs).any()


@pytest.mark.parametrize("text", ["true", "True", " false ", "1", "0"])
def test_a_truth_value_written_as_text_is_read(text: str) -> None:
    (found,) = events({**LABEL, "correct": text})
    assert isinstance(found, Label)
    assert found.correct == float(text.strip().lower() in ("true", "1"))


@pytest.mark.parametrize("text", ["good", "", "1.5"])
def test_another_text_is_no_truth_value(text: str) -> None:
    assert reason({**LABEL, "correct": text}) == "labels_out_of_scale"


def test_control_characters_in_names_and_texts_are_replaced() -> None:
    event = {**OWN, "model": "m\x00", "finish_reason": "stop\x00", "text": "a\x00\n", "context": {"tokenizer": "\x00t"}}
    found = generation(event, decoder=Decoder(keep_text=True))
    assert (found.context.model, found.finish_reason, found.text) == ("m\ufffd", "stop\ufffd", "a\ufffd\n")
    assert found.context.tokenizer == "\ufffdt"


@pytest.mark.parametrize(
    ("index", "position"), [(3, 2), (3.0, 2), (1e30, None), (2**63, None), (-1e30, None), (0, None)]
)
def test_a_place_in_a_stream_that_cannot_be_is_not_known(index: float, position: int | None) -> None:
    (found,) = events([{"index": index, "token": {"id": 1, "text": "a", "logprob": -0.5}, "generated_text": None}])
    assert isinstance(found, Chunk)
    assert found.position == position
