"""Which domain and slices a request gets, and that credentials name nothing."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.gateway import build
from driftgauge.agent.gateway.naming import Naming, NamingRules, Request, prompt_hash, split_prefix
from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.lookup import Lookup, path_of

KEY = "planted-sk-123"
RULES = NamingRules(
    domain=Lookup((path_of("metadata.domain"), path_of("header.x-team"), path_of("user"))),
    keys={hashlib.sha256(KEY.encode()).hexdigest(): "by-key"},
    models={"m": "by-model"},
    function=lambda request: "by-function" if request.model else None,
)


def test_the_first_rule_that_names_the_domain_counts() -> None:
    """Each step takes away what named the domain before."""
    headers = {"driftgauge-domain": "by-header", "x-team": "by-team", "authorization": f"Bearer {KEY}"}
    body = b'{"metadata": {"domain": "by-metadata"}, "user": "by-user"}'
    expected = ["header", "prefix", "metadata", "team", "user", "key", "model", "function"]
    found = []
    prefix, model = "by-prefix", "m"
    for name in expected:
        found.append(Naming(RULES).names(Request(headers, prefix, model, body)).domain)
        match name:
            case "header":
                del headers["driftgauge-domain"]
            case "prefix":
                prefix = ""
            case "metadata":
                body = b'{"user": "by-user"}'
            case "team":
                del headers["x-team"]
            case "user":
                body = b"{}"
            case "key":
                del headers["authorization"]
            case "model":
                model = "other"
    assert found == [f"by-{name}" for name in expected]
    assert Naming(RULES).names(Request()).domain == ""


@pytest.mark.parametrize("header", ["authorization", "api-key", "x-api-key"])
def test_a_key_names_a_domain_in_each_header_that_carries_keys(header: str) -> None:
    value = f"Bearer {KEY}" if header == "authorization" else KEY
    assert Naming(RULES).names(Request({header: value})).domain == "by-key"
    assert Naming(RULES).names(Request({header: f"{value}x"})).domain == ""


def test_a_domain_that_is_not_allowed_is_not_used() -> None:
    naming = Naming(NamingRules(allowed=frozenset({"law"})))
    found = [naming.names(Request({"driftgauge-domain": domain})) for domain in ("law", "tax", "")]
    assert [(names.domain, names.problem) for names in found] == [("law", ""), ("", "domain_not_allowed"), ("", "")]


def test_domains_beyond_the_bound_are_not_used_and_known_ones_still_are() -> None:
    naming = Naming(NamingRules(max_domains=3))
    found = [naming.names(Request({"driftgauge-domain": f"d{n % 5}"})) for n in range(10_000)]
    assert {names.domain for names in found} == {"d0", "d1", "d2", ""}
    assert sum(names.problem == "too_many_domains" for names in found) == 4_000


def test_a_function_that_raises_names_nothing_and_its_request_is_named_by_nothing_else() -> None:
    def fails(request: Request) -> str:
        raise KeyError(request.model)

    found = Naming(NamingRules(function=fails)).names(Request(model="m"))
    assert (found.domain, found.problem) == ("", "domain_function_failed")


def test_a_function_sees_no_credentials() -> None:
    seen: list[Request] = []
    naming = Naming(NamingRules(function=lambda request: seen.append(request)))
    naming.names(Request({"authorization": f"Bearer {KEY}", "cookie": KEY, "x-api-key": KEY, "x-team": "law"}))
    assert seen[0].headers == {"x-team": "law"}
    assert KEY not in repr(seen)


@pytest.mark.parametrize("place", ["found.paths", "slices"])
def test_settings_that_take_a_name_from_a_credential_are_refused(place: str) -> None:
    value: object = ["header.Authorization"] if place == "found.paths" else {"who": "header.x-api-key"}
    with pytest.raises(ConnectorError, match=r"credentials.*gateway\.domain\.keys"):
        build.naming_rules(load_settings(overrides={f"gateway.domain.{place}": value}))


@pytest.mark.parametrize("digest", [KEY, KEY * 8, "0f" * 31])
def test_an_api_key_in_the_place_of_its_digest_is_refused_and_not_repeated(digest: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.domain\.keys .*SHA-256") as caught:
        load_settings(overrides={"gateway.domain.keys": {digest: "law"}})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere:name", "os.path:nothing", "os.path:sep", "os.path", ""])
def test_a_function_that_cannot_be_used_is_an_error_at_the_start(name: str) -> None:
    with pytest.raises(ConnectorError, match=r"gateway\.domain\.function"):
        build.domain_function(name)


def test_slices_are_found_beside_the_domain() -> None:
    slices = {"language": Lookup((path_of("metadata.lang"),)), "team": Lookup((path_of("header.x-team"),))}
    found = Naming(NamingRules(slices=slices)).names(Request({"x-team": "law"}, body=b'{"metadata": {"lang": "de"}}'))
    assert found.slices == {"language": "de", "team": "law"}


def test_the_hash_of_a_prompt_is_off_by_default_and_a_slice_when_a_key_is_configured() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "planted question"}]}'
    assert Naming().names(Request(body=body)).slices == {}
    digest = prompt_hash(body, b"key")
    assert Naming(NamingRules(prompt_hash_key=b"key")).names(Request(body=body)).slices == {"prompt": digest}
    assert prompt_hash(body, b"other") != digest
    assert prompt_hash(body.replace(b"question", b"answer"), b"key") != digest


def test_the_prompt_is_what_each_endpoint_calls_it() -> None:
    bodies = (b'{"messages": "x"}', b'{"prompt": "x"}', b'{"input": "x"}', b'{"input": "x", "instructions": "y"}')
    assert len({prompt_hash(body, b"key") for body in bodies}) == len(bodies)


@given(
    st.dictionaries(st.text(), st.text()),
    st.text(),
    st.text(),
    st.binary() | st.sampled_from([b"[" * 100_000, b'{"metadata": {"domain": [1]}}', b'{"metadata": "x"}', b"\xff{"]),
)
def test_no_request_raises_an_error(headers: dict[str, str], prefix: str, model: str, body: bytes) -> None:
    rules = NamingRules(slices={"s": Lookup((path_of("a.b"),))}, prompt_hash_key=b"key")
    Naming(rules).names(Request({**headers, "driftgauge-domain": prefix}, prefix, model, body))


@given(st.text())
def test_a_path_without_a_domain_is_not_changed(path: str) -> None:
    domain, rest = split_prefix(path)
    assert domain or rest == path


@pytest.mark.parametrize("path", ["/d/", "/d//v1/models", "/d/x", "/download", "/v1/d/x/y"])
def test_a_path_that_only_resembles_a_prefix_is_passed_on(path: str) -> None:
    assert split_prefix(path) == ("", path)
