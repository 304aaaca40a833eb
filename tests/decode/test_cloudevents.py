"""CloudEvents 1.0 around payloads: structured and binary mode, and the fields that an envelope supplies."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_label
from driftgauge.models.events import Label
from tests.decode.chat import USUAL, body, entry, events, generation, reason, record

BODY = body(entry("a", -0.5, USUAL))
NAMELESS: dict[str, Any] = {**BODY, "id": "", "created": None}


def structured(data: object = None, **more: Any) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "id": "e-1", "source": "s", "type": "com.example.answer"}
    return {**envelope, **({} if data is None else {"data": data}), **more}


def binary(value: object, **attributes: str) -> list[Any]:
    headers = {"ce_specversion": "1.0", "ce_id": "e-1", "content-type": "application/json", **attributes}
    return Decoder().decode([record(value, key=None, **headers)])


def test_structured_and_binary_mode_give_the_same_event() -> None:
    one, (other,) = generation(structured(BODY)), binary(BODY)
    assert one.id == other.id == "r"
    assert one.event_time == other.event_time == 1_760_000_000
    assert one.signal.chosen_logprobs.tolist() == other.signal.chosen_logprobs.tolist()  # type: ignore[union-attr]


def test_the_content_type_of_structured_mode_is_known() -> None:
    headers = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    assert generation(structured(BODY), **headers).id == "r"


def test_a_batch_of_envelopes_is_an_array() -> None:
    assert len(events([structured(BODY), structured({**BODY, "id": "s"})])) == 2


def test_an_envelope_supplies_id_time_and_domain_that_the_payload_lacks() -> None:
    found = generation(structured(NAMELESS, time="2026-01-01T00:00:00Z", domain="law"), key=None)
    assert (found.id, found.event_time, found.domain) == ("e-1", 1_767_225_600, "law")


def test_the_partition_key_names_the_response_before_the_envelope_does() -> None:
    assert generation(structured(NAMELESS, partitionkey="p-7"), key=None).id == "p-7"


def test_fields_of_the_payload_take_precedence_over_those_of_the_envelope() -> None:
    found = generation(structured({**BODY, "metadata": {"domain": "tax"}}, time="2026-01-01T00:00:00Z", domain="law"))
    assert (found.id, found.event_time, found.domain) == ("r", 1_760_000_000, "tax")


def test_attributes_in_headers_supply_id_time_and_domain_too() -> None:
    (found,) = binary(NAMELESS, ce_time="2026-01-01T00:00:00Z", ce_domain="law", ce_partitionkey="p-7")
    assert (found.id, found.event_time, found.domain) == ("p-7", 1_767_225_600, "law")


def test_data_may_be_base64_or_text() -> None:
    raw = json.dumps(BODY)
    assert generation(structured(data_base64=base64.b64encode(raw.encode()).decode())).id == "r"
    assert generation(structured(raw)).id == "r"


def test_an_envelope_without_data_is_a_tombstone() -> None:
    assert events(structured()) == []
    assert events({**structured(), "data": None}) == []
    assert binary(b"") == []


def test_an_empty_record_without_an_envelope_is_a_dead_letter() -> None:
    assert reason(b"") == "malformed"


def test_requests_logged_beside_responses_are_ignored() -> None:
    kind = "org.kubeflow.serving.inference."
    assert events(structured({"messages": []}, type=f"{kind}request")) == []
    assert binary({"messages": []}, ce_type=f"{kind}request") == []
    assert generation(structured(BODY, type=f"{kind}response")).id == "r"


@pytest.mark.parametrize("wrong", ["not base64!", "e30", "=="])
def test_wrong_base64_is_a_dead_letter(wrong: str) -> None:
    assert reason(structured(data_base64=wrong)) == "malformed"


def test_an_envelope_inside_an_envelope_is_read() -> None:
    assert generation(structured(structured(BODY))).id == "r"


def test_an_own_event_may_come_in_an_envelope() -> None:
    label = json.loads(encode_label(Label("l", "r", 1.0, 1.0), "json"))
    (found,) = events(structured(label))
    assert isinstance(found, Label)


def test_a_configured_format_is_that_of_the_data_in_the_envelope() -> None:
    assert generation(structured(BODY), decoder=Decoder(format="openai")).id == "r"


def test_a_header_may_name_the_domain_and_the_content_type_the_format() -> None:
    assert generation(BODY, **{"driftgauge-domain": "law"}).domain == "law"
    assert reason(BODY, **{"content-type": "application/json; format=tgi"}) == "wrong_format"
    assert reason(BODY, **{"content-type": "image/png"}) == "unknown_content_type"


def test_a_topic_may_have_a_format_of_its_own() -> None:
    event = {"generated_text": "a", "details": {"finish_reason": "length", "tokens": [{"id": 1, "logprob": -0.5}]}}
    assert generation(event, decoder=Decoder(topic_formats={"t": "tgi"})).signal.n_tokens == 1
    assert reason(event, decoder=Decoder(topic_formats={"t": "openai"})) == "wrong_format"
