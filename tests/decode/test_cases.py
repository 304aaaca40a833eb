"""Inputs after public reports of people who run language models: each is read to its right value, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import decode_file
from driftgauge.models.events import Generation, Label
from driftgauge.models.signals.arrivals import with_features

CASES = Path(__file__).parent / "cases"

THREE = {"n_logprobs": 3, "n_missing": 0, "mean_chosen_logprob": -0.476667, "mean_entropy": 0.551325}
"""The three tokens that most of the cases are about."""

READ: dict[str, tuple[dict[str, Any], ...]] = {
    "bedrock_imported_model.json": ({**THREE, "mean_entropy": None, "coverage": 1.0},),
    "completions_alternatives_only.json": (
        {"id": "conv-1", "n_tokens": 2, "n_missing": 2, "k": {"min": 2, "max": 2}, "mean_entropy": 0.460952},
    ),
    "concatenated.json": ({**THREE, "id": "c1"}, {**THREE, "id": "c2"}),
    "connect_envelope.json": ({**THREE, "id": "chatcmpl-a1"},),
    "created_in_milliseconds.json": ({**THREE, "problems": {"invalid_created": 1, "created_in_other_unit": 1}},),
    "domain_number.json": ({**THREE, "domain": "42", "domain_found": True, "problems": {}},),
    "log_prob_with_underscore.json": ({**THREE, "mean_entropy": None, "finish_reason": "eos_token"},),
    "minus_infinity_literal.json": (
        {**THREE, "mean_entropy": 0.433228, "problems": {"null_alternative": 1, "nan_literal": 1}},
    ),
    "nan_in_a_field_nobody_reads.json": ({**THREE, "problems": {"nan_literal": 1}},),
    "powershell_utf16.json": ({**THREE, "problems": {}},),
    "schema_registry_prefix.bin": ({**THREE, "problems": {}},),
    "speculative_zeros_llamacpp.json": (
        {"n_logprobs": 1, "n_missing": 9, "mean_chosen_logprob": -4.36, "coverage": 0.1,
         "problems": {"not_computed": 9}},
    ),
    "stream_index_counts_tokens.sse": ({**THREE, "complete": True, "problems": {"index_counts_tokens": 1}},),
    "stream_new_id_every_chunk.sse": (
        {**THREE, "id": "chatcmpl-0x0", "complete": True, "problems": {"changing_id": 1}},
    ),
    "two_choices_both_index_0.json": (
        {**THREE, "id": "chatcmpl-a1#0", "problems": {"repeated_index": 1}},
        {"id": "chatcmpl-a1#1", "n_logprobs": 2, "mean_chosen_logprob": -0.25, "problems": {"repeated_index": 1}},
    ),
    "usage_negative.json": ({**THREE, "coverage": None, "problems": {"invalid_usage": 1}},),
}  # fmt: skip
REFUSED: dict[str, dict[str, int]] = {
    "anthropic_message.json": {"unknown_format": 1},
    "not_ours.jsonl": {"unknown_format": 8},
    "stream_finish_error.sse": {"error_response": 1},
    "stream_two_choices_both_index_0.sse": {"ambiguous_choices": 1},
}


@pytest.mark.parametrize("name", READ)
def test_a_case_is_read_to_its_right_value(name: str) -> None:
    found = decode_file(CASES / name)
    assert found["rejected"] == []
    assert len(found["choices"]) == len(READ[name])
    for choice, expected in zip(found["choices"], READ[name], strict=True):
        numbers = {key: value for key, value in expected.items() if isinstance(value, float)}
        assert {key: choice[key] for key in numbers} == pytest.approx(numbers, abs=2e-6)
        assert {key: choice[key] for key in expected.keys() - numbers} == {
            key: value for key, value in expected.items() if key not in numbers
        }


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_that_holds_no_answer_is_refused(name: str) -> None:
    found = decode_file(CASES / name)
    assert found["choices"] == []
    reasons: dict[str, int] = {}
    for rejected in found["rejected"]:
        reasons[rejected["reason"]] = reasons.get(rejected["reason"], 0) + rejected["count"]
    assert reasons == REFUSED[name]


def test_every_case_has_its_right_value() -> None:
    elsewhere = {"labels_as_tools_write_them.jsonl"}
    assert {path.name for path in CASES.iterdir()} == READ.keys() | REFUSED.keys() | elsewhere


def test_labels_as_tools_write_them_are_read_or_refused_with_every_reason() -> None:
    found = decode_file(CASES / "labels_as_tools_write_them.jsonl")
    assert found["labels"] == 4
    assert [(rejected["reason"], rejected["count"]) for rejected in found["rejected"]] == [("invalid_time", 1)]
    record = Record("t", 0, 0, None, (CASES / "labels_as_tools_write_them.jsonl").read_bytes())
    labels = [event for event in Decoder().decode([record]) if isinstance(event, Label)]
    assert [(label.response_id, label.correct) for label in labels] == [
        ("r-1", 1.0), ("r-1", 1.0), ("17", 1.0), ("r-1", 1.0),
    ]  # fmt: skip
    assert len({label.event_time for label in labels}) == 1  # without an offset a time is UTC


def test_tokens_that_were_never_computed_make_a_response_unusable() -> None:
    record = Record("t", 0, 0, b"k", (CASES / "speculative_zeros_llamacpp.json").read_bytes(), timestamp=1.7e9)
    (arrival,) = with_features(Decoder().decode([record]))
    assert getattr(arrival, "problem", None) == "low_coverage"


def test_a_created_that_is_no_time_is_replaced_by_the_timestamp_of_the_record() -> None:
    record = Record("t", 0, 0, b"k", (CASES / "created_in_milliseconds.json").read_bytes(), timestamp=1.7e9)
    (found,) = Decoder().decode([record])
    assert isinstance(found, Generation)
    assert found.event_time == 1.7e9
    assert found.problems["invalid_created"] == 1
