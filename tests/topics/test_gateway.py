"""The gateway encodes the prompts of requests without a domain; events have the direction, and never the prompt."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from driftgauge.agent.gateway.build import naming_rules
from driftgauge.agent.gateway.naming import PROMPTS, Naming, NamingRules, Request
from driftgauge.agent.gateway.wire.collect import Facts, collect_body
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Generation
from driftgauge.models.topics.projection import reduced
from tests.decode.chat import USUAL, body, entry


def counted(text: str) -> Float32s:
    """An encoder that counts letters."""
    return np.array([text.count(letter) for letter in "abcdefgh"], dtype=np.float32)


NAMING = Naming(NamingRules(embeddings=EmbeddingRules(prompts=PROMPTS, encoder=counted)))


def direction_of(text: str) -> Float32s:
    direction = reduced(counted(text))
    assert direction is not None
    return direction


@pytest.mark.parametrize(
    "request_body",
    [
        {"messages": [{"role": "system", "content": "hhh"}, {"role": "user", "content": "a cab"}]},
        {"prompt": "a cab"},
        {"input": "a cab"},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a cab"}]}]},
    ],
)
def test_the_prompt_of_each_interface_is_encoded(request_body: dict[str, Any]) -> None:
    names = NAMING.names(Request(body=json.dumps(request_body).encode()))
    assert np.array_equal(np.frombuffer(names.embedding, dtype="<f4"), direction_of("a cab"))


def test_a_request_with_a_domain_or_without_a_prompt_is_not_encoded() -> None:
    named = json.dumps({"metadata": {"domain": "law"}, "prompt": "a cab"}).encode()
    bodies = (named, b'{"model": "m"}', b'{"prompt": "xyz"}', b"", b"{")
    assert [NAMING.names(Request(body=body)).embedding for body in bodies] == [b""] * 5


def test_the_event_has_the_direction_and_not_the_prompt() -> None:
    names = NAMING.names(Request(body=b'{"prompt": "a cab"}'))
    facts = Facts("gw-1", "chat", 1.7e9, names.domain, embedding=names.embedding)
    (event,) = collect_body(facts, json.dumps(body(entry("a", -0.5, USUAL))).encode()).events
    assert b"cab" not in event.value
    headers = (("content-type", b"application/msgpack"),)
    (found,) = Decoder(embeddings=EmbeddingRules()).decode([Record("t", 0, 0, event.key, event.value, headers)])
    assert isinstance(found, Generation)
    assert found.embedding is not None
    assert np.allclose(found.embedding, direction_of("a cab"))
    assert "default_domain" in found.problems


def test_settings_choose_the_encoder() -> None:
    pytest.importorskip("wordllama")
    rules = naming_rules(load_settings(overrides={"topics.encoder": "wordllama"}))
    assert len(Naming(rules).names(Request(body=b'{"prompt": "a cab"}')).embedding) == 256
    assert Naming(naming_rules(load_settings())).names(Request(body=b'{"prompt": "a cab"}')).embedding == b""
