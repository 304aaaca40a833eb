"""Every payload of the fixtures is decoded to its expected values: as a file, and as the records of a topic."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of, decode_file
from driftgauge.models.events import Event, Label, Rejected
from tests.copying import replace
from tests.decode.payloads import FOLDER, SERVERS, Fixture, fixtures

EVERYTHING = fixtures()
NUMBERS = ("mean_chosen_logprob", "mean_entropy", "coverage")


def differences(found: dict[str, Any], expected: dict[str, Any], *, but_for: frozenset[str] = frozenset()) -> list[str]:
    """The values of one choice that are not as expected."""
    names = expected.keys() - but_for - ({"id"} if not expected["id"] else set())
    return [
        f"{name}: {found[name]} instead of {expected[name]}"
        for name in sorted(names)
        if found[name] != (pytest.approx(expected[name], abs=2e-5) if name in NUMBERS else expected[name])
    ]


def summaries(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The choices in these events, in a form that can be compared."""
    return list(choices_of(events))


@pytest.mark.parametrize("fixture", [f for f in EVERYTHING if not f.headers], ids=str)
def test_a_file_is_decoded_to_its_expected_values(fixture: Fixture) -> None:
    found = decode_file(fixture.path)
    assert found["format"] == fixture.expected["format"]
    assert len(found["choices"]) == len(fixture.expected["choices"])
    for choice, expected in zip(found["choices"], fixture.expected["choices"], strict=True):
        assert differences(choice, expected) == []
    assert len(found["rejected"]) == fixture.expected.get("rejected", 0)
    assert found["labels"] == fixture.expected.get("labels", 0)


@pytest.mark.parametrize("fixture", [f for f in EVERYTHING if not f.expected.get("only_whole")], ids=str)
def test_the_records_of_a_topic_are_decoded_as_the_file_is(fixture: Fixture) -> None:
    events = Decoder().decode(fixture.records())
    choices = summaries(events)
    assert len(choices) == len(fixture.expected["choices"])
    # only some events of a stream carry the id and the usage: the key replaces the id, and the usage may come too late
    but_for = frozenset({"coverage", "id"} if fixture.is_stream else ())
    for choice, expected in zip(choices, fixture.expected["choices"], strict=True):
        assert differences(choice, expected, but_for=but_for) == []
        assert choice["coverage"] in (None, pytest.approx(expected["coverage"]))
        assert choice["id"] == expected["id"] or re.fullmatch(rf"{re.escape(str(fixture))}(/\d+)?(#\d+)?", choice["id"])
    letters = [event for event in events if isinstance(event, Rejected)]
    assert len(letters) == fixture.expected.get("rejected", 0)
    assert sum(isinstance(event, Label) for event in events) == fixture.expected.get("labels", 0)


@pytest.mark.parametrize("fixture", [f for f in EVERYTHING if f.expected["choices"] and not f.headers], ids=str)
def test_a_configured_format_gives_the_same_as_a_detected_one(fixture: Fixture) -> None:
    pinned = Decoder(format=fixture.expected["format"]).decode(fixture.records())
    assert summaries(pinned) == summaries(Decoder().decode(fixture.records()))


def _reordered(value: Any) -> Any:
    """The same JSON with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(value)}
    return [_reordered(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("fixture", [f for f in EVERYTHING if f.expected["choices"]], ids=str)
def test_the_order_of_keys_does_not_matter(fixture: Fixture) -> None:
    records = fixture.records()
    others = [replace(record, value=_reversed_body(record.value)) for record in records]
    assert summaries(Decoder().decode(others)) == summaries(Decoder().decode(records))


def _reversed_body(body: bytes | None) -> bytes | None:
    if body is None or not body.startswith((b"{", b"[{")):
        return body
    return json.dumps(_reordered(json.loads(body))).encode()


def test_every_server_has_expectations_for_every_payload() -> None:
    listed = {fixture.path for fixture in EVERYTHING}
    there = {path for path in FOLDER.glob("*/*") if path.name != "expected.json"}
    assert listed == there
    readme = (FOLDER / "README.md").read_text()
    assert [server for server in SERVERS if f"`{server}`" not in readme] == []
