"""Which requests are asked, which are observed, and which bytes change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.gateway.wire.plan import Api, Kind, api_of, kind_of, read_request, rewrite

INCLUDE = "message.output_text.logprobs"


def kind(api: Api, **fields: Any) -> Kind:
    return kind_of(read_request(api, json.dumps({"model": "m", **fields}).encode()), may_ask=True)


@pytest.mark.parametrize(
    ("method", "path", "api"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/openai/deployments/x/chat/completions", "chat"),
        ("POST", "/v1/completions", "completions"),
        ("POST", "/v1/responses", "responses"),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/responses/resp_1/cancel", None),
        ("POST", "/v1/embeddings", None),
        ("POST", "/completion", None),
        ("POST", "/v1/audio/transcriptions", None),
    ],
)
def test_only_three_routes_are_read(method: str, path: str, api: Api | None) -> None:
    assert api_of(method, path) == api


@pytest.mark.parametrize(
    ("api", "fields", "expected"),
    [
        ("chat", {}, "captured"),
        ("chat", {"logprobs": None}, "captured"),
        ("chat", {"logprobs": False, "top_logprobs": 0}, "captured"),
        ("chat", {"logprobs": True}, "observed"),
        ("chat", {"logprobs": True, "top_logprobs": 3}, "observed"),
        ("chat", {"logprobs": False, "top_logprobs": 3}, "passed"),
        ("chat", {"logprobs": "yes"}, "passed"),
        ("chat", {"logprobs": True, "top_logprobs": "5"}, "passed"),
        ("completions", {}, "captured"),
        ("completions", {"logprobs": None}, "captured"),
        ("completions", {"logprobs": 0}, "observed"),
        ("completions", {"logprobs": 5}, "observed"),
        ("completions", {"echo": True}, "passed"),
        ("completions", {"echo": True, "logprobs": 5}, "passed"),
        ("completions", {"best_of": 3}, "passed"),
        ("completions", {"best_of": 1}, "captured"),
        ("completions", {"prompt_logprobs": 1}, "passed"),
        ("completions", {"use_beam_search": True}, "passed"),
        ("responses", {}, "captured"),
        ("responses", {"include": ["reasoning.encrypted_content"]}, "captured"),
        ("responses", {"include": [INCLUDE], "top_logprobs": 2}, "observed"),
        ("responses", {"top_logprobs": 2}, "passed"),
        ("responses", {"include": "x"}, "passed"),
        ("responses", {"background": True}, "passed"),
    ],
)
def test_a_request_is_captured_observed_or_passed(api: Api, fields: dict[str, Any], expected: Kind) -> None:
    assert kind(api, **fields) == expected
    request = read_request(api, json.dumps(fields).encode())
    assert kind_of(request, may_ask=False) == ("observed" if expected == "observed" else "passed")


@pytest.mark.parametrize(
    ("api", "body", "expected"),
    [
        ("chat", '{"model":"m"}', '{"logprobs":true,"top_logprobs":5,"model":"m"}'),
        ("chat", "{}", '{"logprobs":true,"top_logprobs":5}'),
        ("chat", ' {\n "a": 1 } \n', ' {"logprobs":true,"top_logprobs":5,\n "a": 1 } \n'),
        ("chat", '{"logprobs" : null, "a": "null"}', '{"top_logprobs":5,"logprobs" : true, "a": "null"}'),
        ("chat", '{"a":false,"top_logprobs":0,"logprobs":false}', '{"a":false,"top_logprobs":5,"logprobs":true}'),
        ("chat", '{"a":{"logprobs":null},"b":"\\"logprobs\\":null"}',
         '{"logprobs":true,"top_logprobs":5,"a":{"logprobs":null},"b":"\\"logprobs\\":null"}'),
        ("completions", '{"prompt":"é"}', '{"logprobs":5,"prompt":"é"}'),
        ("completions", '{"logprobs":null,"prompt":"x"}', '{"logprobs":5,"prompt":"x"}'),
        ("responses", '{"input":"x"}', f'{{"include":["{INCLUDE}"],"top_logprobs":5,"input":"x"}}'),
        ("responses", '{"include":["a"],"x":1}', f'{{"top_logprobs":5,"include":["a","{INCLUDE}"],"x":1}}'),
        ("responses", '{"include":null,"top_logprobs":0}', f'{{"include":["{INCLUDE}"],"top_logprobs":5}}'),
    ],
)  # fmt: skip
def test_asking_changes_only_the_fields_that_ask(api: Api, body: str, expected: str) -> None:
    assert rewrite(read_request(api, body.encode()), 5).decode() == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.sampled_from([None, False, "absent"]), st.booleans())
def test_every_other_field_of_a_request_stays(fields: dict[str, Any], present: Any, is_ascii: bool) -> None:
    fields = {name: value for name, value in fields.items() if name not in ("logprobs", "top_logprobs")}
    fields |= {} if present == "absent" else {"logprobs": present}
    body = json.dumps(fields, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    try:
        request = read_request("chat", body)
    except ValueError:
        return
    if request.refusal:
        return
    assert json.loads(rewrite(request, 5)) == {**fields, "logprobs": True, "top_logprobs": 5}


def test_no_more_than_20_alternatives_are_asked_for() -> None:
    assert rewrite(read_request("completions", b"{}"), 1_000) == b'{"logprobs":20}'


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"a":1}}', b'\xef\xbb\xbf{"a":1}', b"{}{}", b'{"a":\xff}', b"[" * 100_000,
     b'{"model":' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_not_one_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        read_request("chat", body)


def test_a_combination_says_what_decides_whether_an_upstream_accepts_to_be_asked() -> None:
    body = {"model": "m", "stream": True, "tools": [{}], "response_format": {"type": "json_object"}}
    assert read_request("chat", json.dumps(body).encode()).combination == ("m", "chat", True, True, True)
    assert read_request("chat", b'{"model": 3, "tools": [], "stream": 1}').combination == (
        "", "chat", False, False, False,
    )  # fmt: skip
