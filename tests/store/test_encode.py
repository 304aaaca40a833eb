"""Outputs become messages: JSON without NaN in a CloudEvents envelope, dead letters as they came."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.connectors.base import Message
from driftgauge.connectors.publishing.encode import Topics, encode
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.outputs import Output, Prediction, ReportWritten
from tests.store.examples import acquisition, alert, estimate, rejected

PREDICTION = Prediction("r-1", "law", "f1", 1.5, 0.25, 12, 3, is_final=True)


def sent(output: Output, epoch: int = 4) -> Message:
    return encode(output, Topics(), "gauge/eu", epoch)


@pytest.mark.parametrize(
    ("output", "topic", "event_type", "event_time"),
    [
        (estimate(), "driftgauge.estimates", "estimate.updated.v1", "1970-01-01T01:00:00Z"),
        (alert(), "driftgauge.alerts", "alert.changed.v2", "1970-01-01T00:50:00Z"),
        (acquisition(), "driftgauge.priorities", "acquisition.list.created.v2", "1970-01-01T01:00:00Z"),
        (
            ReportWritten(0.0, 60.0, "UTC", ("a.md",), 1, 0, 0, 0, 1),
            "driftgauge.reports",
            "report.written.v1",
            "1970-01-01T00:01:00Z",
        ),
        (PREDICTION, "driftgauge.predictions", "prediction.made.v1", "1970-01-01T00:00:01.500000Z"),
    ],
)
def test_an_output_is_a_cloud_event(output: Output, topic: str, event_type: str, event_time: str) -> None:
    message = sent(output)
    headers = {name: value.decode() for name, value in message.headers}
    assert message.topic == topic
    assert headers.pop("ce_id")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "gauge/eu",
        "ce_type": f"driftgauge.{event_type}",
        "ce_time": event_time,
        "driftgauge-epoch": "4",
        "content-type": "application/json",
    }


def test_a_payload_has_times_as_text_and_missing_values_as_null() -> None:
    payload = json.loads(sent(estimate(accuracy=float("nan"), components={"a": float("nan"), "b": 1.0})).value)
    assert payload["window_start"] == "1970-01-01T00:00:00Z"
    assert payload["watermark"] == "1970-01-01T00:59:59.500000Z"
    assert payload["accuracy"] is None
    assert payload["accuracy_labelled"] is None
    assert payload["components"] == {"a": None, "b": 1.0}
    assert payload.keys() >= {"domain", "fingerprint", "revision", "n_events", "n_labels", "status", "status_reason"}


def test_numpy_numbers_are_numbers_in_a_payload() -> None:
    payload = json.loads(sent(estimate(n_events=np.int64(3), accuracy=np.float32(0.5), spread=np.float64("nan"))).value)
    assert (payload["n_events"], payload["accuracy"], payload["spread"]) == (3, 0.5, None)


def test_an_acquisition_list_holds_its_rows_in_order() -> None:
    payload = json.loads(sent(acquisition()).value)
    assert payload["event_time"] == "1970-01-01T01:00:00Z"
    assert [(row["rank"], row["domain"], row["why"]) for row in payload["priorities"]] == [(1, "law", "no labels yet")]


def test_messages_have_the_same_id_only_if_their_content_is_the_same() -> None:
    provisional = replace(PREDICTION, is_final=False, number=2)
    outputs: list[Output] = [
        *(estimate(), estimate(revision=2), estimate(window_end=7200.0)),
        *(estimate(window_end=0.5), estimate(window_end=1.0)),
        *(acquisition(0.5), acquisition(1.0), acquisition(revision=2)),
        *(alert(1), alert(2), acquisition(), PREDICTION, provisional),
        *(rejected(1), rejected(2), rejected(1, value=b"other"), rejected(1, detail="other")),
    ]
    ids = [dict(sent(output).headers)["ce_id"] for output in outputs]
    assert len(set(ids)) == len(ids)
    assert ids == [dict(sent(output, epoch=9).headers)["ce_id"] for output in outputs]


def test_a_dead_letter_is_the_record_as_it_came_and_headers_with_the_reason() -> None:
    message = sent(rejected())
    headers = dict(message.headers)
    assert (message.key, message.value) == (b"\x00k", b"\xff{not json")
    assert headers["ce_type"] == b"driftgauge.dead_letter.recorded.v1"
    assert headers["driftgauge-reason"] == b"malformed"
    assert headers["driftgauge-detail"] == b"at byte 3"
    assert headers["driftgauge-topic"] == b"generations"
    assert headers["driftgauge-partition"] == b"2"
    assert headers["driftgauge-offset"] == b"7"
    assert headers["original-trace"] == b"\x00\xff"
    assert headers["content-type"] == headers["original-content-type"] == b"application/json"


def test_a_dead_letter_without_key_and_value_has_empty_ones() -> None:
    message = sent(rejected(key=None, value=None, headers=()))
    assert (message.key, message.value) == (b"", b"")
    assert dict(message.headers)["content-type"] == b"application/octet-stream"


@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), -float("inf"), 1e300, 1e12, -1e12])
def test_a_time_that_no_calendar_holds_is_unknown(seconds: float | None) -> None:
    assert rfc3339(seconds) is None
