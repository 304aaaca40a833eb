"""Where embeddings come from: the field of own events, paths into other payloads, and prompts that are encoded."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest

from driftgauge.agent.service.build_decoding import decoder as built
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.models.events import Chunk, Generation
from driftgauge.models.topics.projection import reduced
from tests.decode.chat import USUAL, body, entry
from tests.topics.planted import directions

CHAT = body(entry("a", -0.5, USUAL))
OWN: dict[str, Any] = {"type": "generation", "id": "r", "event_time": 1.7e9, "signal": {"chosen_logprobs": [-0.5]}}
VECTOR = np.random.default_rng(0).normal(size=384).astype(np.float32)


def decoder(**settings: object) -> Decoder:
    return built(load_settings(overrides={"topics.enabled": True, **{f"topics.{k}": v for k, v in settings.items()}}))


def read(document: dict[str, Any], decoder: Decoder, *, packed: bool = False) -> Generation:
    value = msgspec.msgpack.encode(document) if packed else json.dumps(document).encode()
    headers = (("content-type", b"application/msgpack"),) if packed else ()
    (event,) = decoder.decode([Record("t", 0, 0, None, value, headers)])
    event = event.piece if isinstance(event, Chunk) else event
    assert isinstance(event, Generation), event
    return event


def same(found: Generation, vector: np.ndarray = VECTOR) -> bool:
    direction = reduced(vector)
    return found.embedding is not None and direction is not None and np.allclose(found.embedding, direction, atol=1e-6)


def test_an_embedding_is_read_as_numbers_as_base64_and_as_bytes() -> None:
    raw = VECTOR.astype("<f4").tobytes()
    assert same(read({**OWN, "embedding": VECTOR.tolist()}, decoder()))
    assert same(read({**OWN, "embedding": base64.b64encode(raw).decode()}, decoder()))
    assert same(read({**OWN, "embedding": raw}, decoder(), packed=True))
    assert same(read({**OWN, "type": "generation.chunk", "embedding": VECTOR.tolist()}, decoder()))


def test_an_event_that_is_encoded_again_keeps_the_direction() -> None:
    first = read({**OWN, "embedding": VECTOR.tolist()}, decoder())
    again = decoder().decode([Record("t", 0, 0, None, encode_generation(first, "json"))])[0]
    assert isinstance(again, Generation)
    assert first.embedding is not None
    assert same(again, first.embedding)


@pytest.mark.parametrize(
    "given",
    [[], [1.0], [0.0] * 64, [1.0] * 4_097, [None, 1.0], "AAAA", [1e39, 1.0], base64.b64encode(b"x" * 9).decode()],
)
def test_an_embedding_that_cannot_be_used_is_counted_and_is_no_dead_letter(given: object) -> None:
    found = read({**OWN, "embedding": given}, decoder())
    assert (found.embedding, found.problems["embedding_unusable"]) == (None, 1)


@pytest.mark.parametrize("width", [2, 64, 65, 4_096])
def test_embeddings_of_every_width_become_unit_vectors(width: int) -> None:
    values = np.random.default_rng(width).normal(size=width) * 1e30
    found = read({**OWN, "embedding": values.tolist()}, decoder()).embedding
    assert found is not None
    assert (found.shape, found.dtype.name, round(float(found @ found), 5)) == ((64,), "float32", 1.0)


def test_cosines_survive_the_projection_up_to_its_error() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(500, 2, 1_024)).astype(np.float32)
    pairs[:, 1] += pairs[:, 0]
    true = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]
    kept = [float(a @ b) for a, b in map(directions, pairs)]
    errors = np.array(kept) - true
    assert abs(errors.mean()) < 4 * 0.08 / 500**0.5 + 1 / 64
    assert 0.04 < errors.std() < 0.09  # (1 - cosine squared) / 8 = .0625 at .71


def test_without_topics_no_embedding_is_kept() -> None:
    found = read({**OWN, "embedding": VECTOR.tolist()}, built(load_settings()))
    assert (found.embedding, found.problems) == (None, {"default_domain": 1})


def test_a_path_names_the_embedding_in_other_formats() -> None:
    by_path = decoder(embedding=["metadata.vector"])
    assert same(read({**CHAT, "metadata": {"vector": VECTOR.tolist()}}, by_path))
    encoded = base64.b64encode(VECTOR.astype("<f4").tobytes()).decode()
    assert same(read({**CHAT, "metadata": {"vector": encoded}}, by_path))
    assert read({**CHAT, "metadata": {"vector": {"a": 1}}}, by_path).problems["embedding_unusable"] == 1
    assert read(CHAT, by_path).embedding is None


def test_a_response_with_a_domain_needs_no_embedding() -> None:
    by_path = decoder(embedding=["metadata.vector"])
    assert read({**CHAT, "metadata": {"domain": "law", "vector": VECTOR.tolist()}}, by_path).embedding is None


def test_prompts_are_encoded_where_a_path_names_them_and_are_not_kept() -> None:
    pytest.importorskip("wordllama")
    by_prompt = decoder(encoder="wordllama", prompt=["request.prompt", "request.messages"])

    def of(text: str) -> np.ndarray:
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": text}]
        found = read({**CHAT, "request": {"messages": messages}}, by_prompt)
        assert found.text is None
        assert found.embedding is not None
        return found.embedding

    paris, rome, total = map(of, ("What is the capital of France?", "Name the capital of Italy.", "Add 7 and 12."))
    assert paris @ rome > paris @ total + 0.2
    assert same(read({**CHAT, "request": {"prompt": "Add 7 and 12."}}, by_prompt), total)
    assert read({**CHAT, "request": {"prompt": ""}}, by_prompt).embedding is None
