"""Examples and schemas in the documents agree with the events that the code reads and writes."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
import yaml

from driftgauge.config.connections import KafkaTopicSettings
from driftgauge.config.extraction import ExtractSettings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import CONTENT_TYPES, Decoder
from driftgauge.connectors.decoding.formats.extracted import encode
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.publishing.contract import documents, header_names, schemas
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.publishing.encode import encode as encode_output
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.publishing.payload import TIMES, to_json
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Arrival, Chunk, Event, Generation, Label, Rejected, RejectReason
from driftgauge.models.outputs import LabelRequest, Output, Priority, ReportWritten
from driftgauge.models.signals.arrivals import with_features
from driftgauge.models.signals.feature_sets import FeatureSpec
from tests.docs.test_documents import ROOT, blocks
from tests.pipeline.logs import make_log, play

EXAMPLES = [json.loads(block.text) for block in blocks("json") if block.document == "docs/events.md"]
EXTRACTED = [example for example in EXAMPLES if example.get("type") == "extracted"]
INCOMING = [example for example in EXAMPLES if "type" in example and example not in EXTRACTED]
SENT = [example for example in EXAMPLES if "type" not in example]
SCHEMAS = schemas()
JSON_KINDS = {kind.name: kind for kind in OUTPUT_KINDS.values() if kind.is_json}
DECODED = {"generation": Generation, "generation.chunk": Chunk, "label": Label}


def decoded(value: bytes, content_type: str) -> Event:
    (event,) = Decoder().decode([Record("t", 0, 0, None, value, (("content-type", content_type.encode()),))])
    return event


def extracted_event(example: dict[str, Any]) -> Event:
    """The event in the example of the topic of features."""
    decoder = Decoder(features_topic="features", features=FeatureSpec("published"))
    (event,) = decoder.decode([Record("features", 0, 0, None, msgspec.json.encode(example))])
    return event


def check(value: Any, name: str) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(SCHEMAS[name], format_checker=checker).validate(value)


def name_of(sent: dict[str, Any]) -> str:
    """The schema whose fields these are, all of them."""
    (name,) = (name for name in JSON_KINDS if SCHEMAS[name]["properties"].keys() == sent.keys())
    return name


def as_msgpack(example: dict[str, Any]) -> bytes:
    """The same event with its packed floats as they are."""
    packed = example["signal"].get("packed", {}) if "signal" in example else {}
    raw = {name: base64.b64decode(packed[name]) for name in packed.keys() & {"top_logprobs", "chosen_logprobs"}}
    signal = {"signal": {**example["signal"], "packed": {**packed, **raw}}} if raw else {}
    return msgspec.msgpack.encode({**example, **signal})


def test_the_contract_documents_are_what_the_code_generates() -> None:
    """If this fails, run python -m driftgauge.connectors.publishing.contract docs."""
    assert {name: (ROOT / "docs" / name).read_text() for name in documents()} == documents()
    assert {path.stem for path in (ROOT / "docs" / "schemas").iterdir()} == SCHEMAS.keys()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_event_and_every_form_of_the_signal_has_an_example() -> None:
    assert {example["type"] for example in INCOMING + EXTRACTED} | {
        name_of(example) for example in SENT
    } == SCHEMAS.keys()
    forms = {next(iter(example["signal"])) for example in INCOMING if "signal" in example}
    assert forms == {"top_logprobs", "packed", "chosen_logprobs", "entropy", "features"}


def test_the_example_of_the_topic_of_features_is_a_response_and_fits_its_schema() -> None:
    (example,) = EXTRACTED
    check(example, "extracted")
    event = extracted_event(example)
    assert isinstance(event, Arrival)
    assert (event.generation.id, event.n_tokens, len(event.features)) == ("r-17", 2, 17)


def test_everything_that_extractors_publish_fits_its_schema() -> None:
    for event in with_features(make_log(1)):
        value = encode(Record("generations", 0, 0, None, b"{", (), 1.7e9), [event], encoding="json")
        check(json.loads(value), "extracted")


@pytest.mark.parametrize("example", INCOMING, ids=lambda e: e.get("id") or e["label_id"])
def test_examples_of_incoming_events_decode_to_the_same_event_in_both_encodings(example: dict[str, Any]) -> None:
    check(example, example["type"])
    json_event = decoded(json.dumps(example).encode(), "application/json")
    assert isinstance(json_event, DECODED[example["type"]])
    for content_type, encoding in CONTENT_TYPES.items():
        if encoding == "msgpack":
            assert comparable(decoded(as_msgpack(example), content_type)) == comparable(json_event)


def comparable(event: Event) -> object:
    """The content of an event, in a form that can be compared."""
    return encode_generation(event, "json", packed=False) if isinstance(event, Generation | Chunk) else event


def test_the_packed_example_holds_the_values_of_the_first_example() -> None:
    plain, packed = (decoded(json.dumps(example).encode(), "application/json") for example in INCOMING[:2])
    assert isinstance(plain, Generation)
    assert isinstance(packed, Generation)
    assert plain.signal.top_logprobs is not None
    assert packed.signal.top_logprobs is not None
    assert packed.signal.top_logprobs == pytest.approx(plain.signal.top_logprobs, rel=1e-3)
    assert packed.signal.chosen_logprobs == pytest.approx(plain.signal.chosen_logprobs, rel=1e-3)


@pytest.mark.parametrize("example", SENT, ids=name_of)
def test_examples_of_outgoing_events_are_encoded_exactly_so(example: dict[str, Any]) -> None:
    check(example, name_of(example))
    kind = JSON_KINDS[name_of(example)]
    values: dict[str, Any] = {name: seconds(value) if name in TIMES else value for name, value in example.items()}
    if "priorities" in values:
        values["priorities"] = tuple(Priority(**row) for row in values["priorities"])
    if "requests" in values:
        values["requests"] = tuple(request_of(row) for row in values["requests"])
    output = kind.record(**values)
    assert json.loads(to_json(output)) == example
    assert dict(encode_output(output, Topics(), "a", 1).headers)["ce_type"].decode() == kind.event_type


def request_of(row: dict[str, Any]) -> LabelRequest:
    return LabelRequest(**{**row, "event_time": seconds(row["event_time"]), "aliases": tuple(row["aliases"])})


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_every_output_fits_its_schema() -> None:
    written = ReportWritten(0.0, 60.0, "UTC", ("a.md",), 1, 0, 0, 0, 1)  # by a job beside the pipeline
    outputs = [*play(MemoryStore(), [make_log(1)]), written]
    assert {type(output) for output in outputs} == OUTPUT_KINDS.keys() == set(get_args(Output))
    for output in outputs:
        kind, message = OUTPUT_KINDS[type(output)], encode_output(output, Topics(), "driftgauge", epoch=1)
        names = [name for name, _ in message.headers]
        assert sorted(names) == sorted(header_names(kind))
        if kind.is_json:
            check(json.loads(message.value), kind.name)


def test_every_event_that_the_encoder_writes_fits_its_schema() -> None:
    for event in make_log(1):
        if isinstance(event, Generation | Chunk):
            name = "generation.chunk" if isinstance(event, Chunk) else "generation"
            check(json.loads(encode_generation(event, "json", packed=False)), name)
            check(json.loads(encode_generation(event, "json")), name)
        elif isinstance(event, Label):
            check(json.loads(encode_label(event, "json")), "label")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("generation", {"version": 2}),
        ("generation", {"id": ""}),
        ("generation", {"signal": {"features": [0.1]}}),
        ("generation", {"usage": {"completion_tokens": -1}}),
        ("label", {"correct": [1]}),
        ("label", {"scale": [1]}),
        ("label", {"inclusion_probability": 0}),
    ],
)
def test_schema_and_decoder_refuse_the_same_events(name: str, wrong: dict[str, Any]) -> None:
    example = {**next(example for example in INCOMING if example["type"] == name), **wrong}
    assert isinstance(decoded(json.dumps(example).encode(), "application/json"), Rejected)
    with pytest.raises(jsonschema.ValidationError):
        check(example, name)


def test_the_asyncapi_document_names_the_topics_of_the_settings_and_files_that_exist() -> None:
    document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    settings = {**KafkaTopicSettings().model_dump(), "features": ExtractSettings().to}
    addresses = {channel: [described["address"]] for channel, described in document["channels"].items()}
    assert addresses == {name: list(topics) if name in ("generations", "labels") else [topics]
                         for name, topics in settings.items()}  # fmt: skip
    assert settings.keys() == {"generations", "labels", "features", *Topics()}
    references = set(re.findall(r"\$ref: (\./\S+)", (ROOT / "docs" / "asyncapi.yaml").read_text()))
    assert {Path(reference).stem for reference in references} == SCHEMAS.keys()


def test_the_documented_reasons_of_dead_letters_are_those_in_the_code() -> None:
    table = (ROOT / "docs" / "events.md").read_text().partition("| reason |")[2]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == set(get_args(RejectReason))
