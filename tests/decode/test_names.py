"""Where the domain, the slices, the model revision and the id of a response come from, and how names are cleaned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftgauge.agent.service.build_decoding import decoder as built
from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Generation, Label, Rejected
from driftgauge.models.names import shown
from tests.decode.chat import USUAL, body, chunk, chunks, entry, events, generation, reason

CHAT = body(entry("a", -0.5, USUAL))
OWN: dict[str, Any] = {"type": "generation", "id": "r", "event_time": 1.7e9, "signal": {"chosen_logprobs": [-0.5]}}


def decoder(**settings: object) -> Decoder:
    return built(load_settings(overrides={f"decode.{name}": value for name, value in settings.items()}))


# --- cleaning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [("billing", "billing"), (" billing\n", "billing"), ("\u00a0billing", "billing"), (42, "42"), (42.0, "42"),
     ("a\x00b", "a\ufffdb"), ("e\u0301", "\u00e9"), (True, "true")],
)  # fmt: skip
def test_a_domain_of_a_payload_is_cleaned(given: object, name: str) -> None:
    assert generation({**CHAT, "metadata": {"domain": given}}).domain == name


@pytest.mark.parametrize("given", [None, "", "  ", [], {"a": 1}])
def test_what_is_no_name_falls_to_the_default_domain_and_is_counted(given: object) -> None:
    found = generation({**CHAT, "metadata": {"domain": given}})
    assert (found.domain, found.problems) == ("default", {"default_domain": 1})


def test_own_events_follow_the_same_rules() -> None:
    found = [generation({**OWN, "domain": given}) for given in ("billing", " billing", 42, "", "  ")]
    assert [event.domain for event in found] == ["billing", "billing", "42", "default", "default"]
    assert ["default_domain" in event.problems for event in found] == [False, False, False, True, True]
    assert generation(OWN).problems == {"default_domain": 1}


def test_slices_and_revision_of_own_events_may_be_numbers() -> None:
    own = {**OWN, "slices": {"shard": 3, "language": " en ", "beta": True, "none": ""},
           "context": {"model_revision": 7}}  # fmt: skip
    found = generation(own)
    assert found.slices == {"shard": "3", "language": "en", "beta": "true"}
    assert found.context.model_revision == "7"


def test_two_long_domains_stay_two() -> None:
    found = {generation({**CHAT, "metadata": {"domain": "x" * 300 + end}}).domain for end in "ab"}
    assert len(found) == 2
    assert max(map(len, found)) <= 256


@pytest.mark.parametrize("names", [("billing", "billing "), ("", " "), ("bill\u200bing", "billing"), ("a", "a\u00a0")])
def test_two_names_that_differ_look_different(names: tuple[str, str]) -> None:
    one, other = map(shown, names)
    assert one != other
    assert one.strip()
    assert (one + other).isprintable()


@pytest.mark.parametrize("event", [{**OWN, "id": "r\x00"}, {**CHAT, "id": "r\x00"}, {**OWN, "id": "r\n"}])
def test_an_id_with_a_control_character_is_refused(event: dict[str, Any]) -> None:
    assert reason(event) == "invalid_id"


def test_a_number_is_the_id_that_its_digits_spell_on_both_sides() -> None:
    label = {"type": "label", "label_id": 1, "response_id": 17, "event_time": 1.7e9, "correct": True}
    for given in (17, 17.0):
        (found,) = events({**label, "response_id": given, "annotator_id": given, "source": None})
        assert isinstance(found, Label)
        assert (found.response_id, found.annotator_id, found.source) == ("17", "17", "")
        assert generation({**CHAT, "id": given}).id == generation({**OWN, "id": given}).id == "17"
    assert reason({**label, "response_id": 17.5}) == "invalid_id"


def test_a_domain_that_is_null_is_none() -> None:
    assert generation({**OWN, "domain": None}).problems == {"default_domain": 1}


@pytest.mark.parametrize(
    ("given", "name"),
    [(17.0, "17"), (-3.0, "-3"), (0, "0"), (0.0, "0"), (17.5, "key"), (2.0**60, "key"), (True, "key")],
)
def test_a_whole_number_with_a_fraction_is_the_id_of_its_digits(given: float, name: str) -> None:
    assert generation({**CHAT, "id": given}).id == name


def test_a_key_that_is_no_text_names_a_response_in_hexadecimal() -> None:
    nameless = {**CHAT, "id": ""}
    keys = [b"\x00\x00\x00\x2a", b"\xff\xfe", b'"quoted"', b"plain"]
    assert [generation(nameless, key=key).id for key in keys] == ["0x0000002a", "0xfffe", "quoted", "plain"]


# --- lookups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.tenant", {**CHAT, "metadata": {"tenant": "law"}}),
        ("payload.metadata.tenant", {**CHAT, "metadata": {"tenant": "law"}}),
        ("metadata.app.name", {**CHAT, "metadata": {"app.name": "law"}}),
        ("tags.1", {**CHAT, "tags": ["x", "law"]}),
        ("metadata.extra.tenant", {**CHAT, "metadata": {"extra": '{"tenant": "law"}'}}),
        ("usage.tenant", {"schema": {}, "payload": {**CHAT, "usage": {"tenant": "law"}}}),
        ("app", {"app": "law", "message": json.dumps(CHAT)}),
        ("source.db", {"before": None, "after": CHAT, "op": "c", "source": {"db": "law"}}),
        ("slices.team", {**OWN, "slices": {"team": "law"}}),
    ],
)
def test_the_domain_is_found_at_a_path_into_the_payload_or_its_wrapping(path: str, value: object) -> None:
    found = generation(value, decoder=decoder(domain=path))
    assert found.domain == "law"
    assert "default_domain" not in found.problems


def test_the_domain_is_found_in_a_header_the_key_or_the_topic() -> None:
    headers = {"X-Team": "law"}
    assert generation(CHAT, decoder=decoder(domain="header.x-team"), **headers).domain == "law"
    assert generation(CHAT, decoder=decoder(domain="key"), key=b"law").domain == "law"
    assert generation(CHAT, decoder=decoder(domain="key.tenant"), key=b'{"tenant": "law"}').domain == "law"
    assert generation(CHAT, decoder=decoder(domain="topic")).domain == "t"


def test_the_first_path_with_a_value_counts_and_then_the_places_of_the_format() -> None:
    rules = decoder(domain="metadata.tenant, header.team")
    assert generation({**CHAT, "metadata": {"tenant": 7}}, decoder=rules, team="law").domain == "7"
    assert generation({**CHAT, "metadata": {"tenant": " "}}, decoder=rules, team="law").domain == "law"
    assert generation({**CHAT, "metadata": {"domain": "tax"}}, decoder=rules).domain == "tax"
    found = generation(CHAT, decoder=rules)
    assert (found.domain, found.problems) == ("default", {"default_domain": 1})


def test_values_and_patterns_rewrite_what_is_found() -> None:
    rules = decoder(
        domain={"paths": ["key"], "values": {42: "billing"}, "patterns": {"team-([a-z]+)-.*": r"\1", ".*": "other"}}
    )
    keys = {b"42": "billing", b"team-law-eu": "law", b"x": "other"}
    assert {key: generation(CHAT, decoder=rules, key=key).domain for key in keys} == keys


def test_slices_and_the_model_revision_are_found_alike() -> None:
    rules = decoder(slices={"language": "metadata.lang", "region": {"paths": ["header.region"], "values": {"1": "eu"}}},
                    model_revision="metadata.build")  # fmt: skip
    value = {**CHAT, "metadata": {"lang": "de", "build": 12}}
    found = generation(value, decoder=rules, region="1")
    assert (found.slices, found.context.model_revision) == ({"language": "de", "region": "eu"}, "12")
    own = generation({**OWN, "slices": {"a": "b"}, "metadata": {"lang": "de"}}, decoder=rules)
    assert own.slices == {"a": "b", "language": "de"}


def test_chunks_have_the_domain_that_is_looked_up() -> None:
    found = chunks(chunk(entry("a", -0.5)) | {"metadata": {"tenant": "law"}}, decoder=decoder(domain="metadata.tenant"))
    assert [piece.piece.domain for piece in found] == ["law"]


@pytest.mark.parametrize(
    "wrong", [{"paths": ["key"], "patterns": {"(": "x"}}, {"paths": ["key"], "patterns": {"x": r"\1"}}, {"path": "key"}]
)
def test_a_lookup_that_cannot_work_stops_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"decode\.domain"):
        decoder(domain=wrong)


# --- ids -------------------------------------------------------------------------------------------------------------


def test_a_setting_names_responses_by_their_key_or_by_several_values() -> None:
    by_key = decoder(response_id="key")
    assert generation(CHAT, decoder=by_key).id == "key"
    assert generation(CHAT, decoder=by_key).aliases == ("r",)
    assert generation(CHAT, decoder=decoder(response_id="payload.id, payload.created")).id == "r/1760000000"
    assert generation(CHAT, decoder=decoder(response_id="header.request"), request="q-7").id == "q-7"
    own = generation(OWN, decoder=decoder(response_id="payload.id, payload.event_time"))
    assert (own.id, own.aliases) == ("r/1700000000", ("r", "key"))


def test_ids_that_repeat_become_different_responses_by_a_setting() -> None:
    again = {**CHAT, "created": CHAT["created"] + 60}
    found = events(CHAT, again, decoder=decoder(response_id=["payload.id", "payload.created"]))
    assert len({event.id for event in found if isinstance(event, Generation)}) == 2


def test_several_bodies_in_one_record_have_several_ids_where_the_key_names_them() -> None:
    (found,) = [events([CHAT, {**CHAT, "id": "s"}], decoder=decoder(response_id="key"))]
    assert [event.id for event in found if isinstance(event, Generation)] == ["key", "key/1"]


def test_an_id_that_is_not_found_is_counted_and_the_payload_names_the_response() -> None:
    found = generation(CHAT, decoder=decoder(response_id="header.absent"))
    assert (found.id, found.problems["response_id_not_found"]) == ("r", 1)


def test_chunks_with_changing_ids_belong_together_by_their_key() -> None:
    found = chunks(*({**chunk(entry("a", -0.5)), "id": f"c{i}"} for i in range(3)), decoder=decoder(response_id="key"))
    assert {piece.piece.id for piece in found} == {"key"}


def test_an_index_that_counts_tokens_is_ignored_by_a_setting() -> None:
    pieces = [chunk(entry("a", -0.5)) for _ in range(3)]
    for number, piece in enumerate(pieces):
        piece["choices"][0]["index"] = number
    assert {piece.piece.id for piece in chunks(*pieces)} == {"r", "r#1", "r#2"}
    assert {piece.piece.id for piece in chunks(*pieces, decoder=decoder(single_choice=True))} == {"r"}


def test_other_ids_of_a_response_are_carried_as_aliases() -> None:
    response = {"status_code": 200, "request_id": "req-7", "body": {**CHAT, "request_id": "of-7"}}
    line = {"id": "batch_req_1", "custom_id": "ticket-7", "response": response}
    assert set(generation(line).aliases) == {"ticket-7", "batch_req_1", "req-7", "of-7", "key"}
    logged = {"id": "log-1", "litellm_call_id": "call-7", "trace_id": "trace-7", "response": CHAT}
    assert set(generation(logged).aliases) == {"log-1", "call-7", "trace-7", "key"}
    envelope = {"specversion": "1.0", "id": "e-1", "source": "s", "type": "t", "partitionkey": "p-7", "data": CHAT}
    assert set(generation(envelope, key=None).aliases) == {"p-7", "e-1"}
    assert generation(CHAT, key=b"r").aliases == ()
    assert generation(OWN).aliases == ("key",)


TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
TRACED = f"00-{TRACE}-{SPAN}-01"


def test_the_span_and_the_trace_of_a_record_are_further_ids() -> None:
    assert generation(CHAT, key=None, traceparent=TRACED).aliases == (SPAN, TRACE)
    assert generation(OWN, key=None, traceparent=TRACED).aliases == (SPAN, TRACE)
    assert generation(CHAT, key=None, traceparent=TRACED.replace(TRACE, "0" * 32)).aliases == ()


def test_an_own_event_names_its_span_its_trace_and_other_further_ids() -> None:
    own = generation({**OWN, "span_id": SPAN, "trace_id": TRACE, "aliases": ["ticket-7", 8]}, key=None)
    assert own.aliases == ("ticket-7", "8", SPAN, TRACE)
    again = generation(json.loads(encode_generation(own, "json")), key=None)
    assert again.aliases == own.aliases


def test_settings_point_to_further_ids() -> None:
    found = decoder(aliases="metadata.trace, header.x-request")
    assert generation({**CHAT, "metadata": {"trace": TRACE}}, key=None, decoder=found).aliases == (TRACE,)
    own = generation({**OWN, "metadata": {"trace": 17}}, **{"x-request": "q-1"}, decoder=found)
    assert own.aliases == ("key", "17", "q-1")


def test_choices_have_the_aliases_of_their_index() -> None:
    two = {**CHAT, "choices": [CHAT["choices"][0], {**CHAT["choices"][0], "index": 1}]}
    found = [event for event in events({"id": "b", "custom_id": "ticket-7", "response": {"body": two}}, key=None)
             if isinstance(event, Generation)]  # fmt: skip
    assert [event.aliases[0] for event in found] == ["ticket-7#0", "ticket-7#1"]


def test_an_alias_that_cannot_be_an_id_is_left_out() -> None:
    line = {"custom_id": "x" * 600, "response": {"body": CHAT}}
    assert generation(line, key=None).aliases == ()


def test_an_own_label_survives_encoding_with_its_text_ids() -> None:
    (found,) = events(json.loads(encode_label(Label("l", "r", 1.0, 1.0), "json")))
    assert found == Label("l", "r", 1.0, 1.0)


def test_names_in_a_dead_letter_are_not_quoted() -> None:
    (letter,) = events({**OWN, "id": "secret\x00"})
    assert isinstance(letter, Rejected)
    assert "secret" not in letter.detail
