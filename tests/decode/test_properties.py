"""Any input: correct payloads are read to the value; odd and mutated ones give events or one dead letter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of
from driftgauge.models.events import Generation
from tests.decode.strategies import (
    BODIES,
    STREAMS,
    Token,
    Tree,
    fair_tokens,
    odd_tokens,
    pieces,
)
from tests.fuzz.checks import check
from tests.fuzz.mutation import mutated, mutated_tree
from tests.fuzz.seeds import seeds

SEEDS = seeds()
BYTES = [seed.body for seed in SEEDS]
WITHOUT_ALTERNATIVES = ("cohere", "triton")


def record(*trees: Tree, offset: int = 0) -> Record:
    return Record("t", 0, offset, b"key", b"\n".join(json.dumps(tree).encode() for tree in trees), timestamp=1.7e9)


@pytest.mark.parametrize("shape", BODIES)
@settings(max_examples=25)
@given(tokens=fair_tokens(min_size=1))
def test_a_correct_body_is_read_to_the_value(shape: str, tokens: list[Token]) -> None:
    (event,) = Decoder().decode([record(BODIES[shape](tokens))])
    assert isinstance(event, Generation)
    chosen = [token.logprob for token in tokens]
    if shape == "llama_cpp_old":  # the value of the sampled token is only listed among its alternatives
        chosen = [token.logprob if _is_listed(token) else np.nan for token in tokens]
    assert event.signal.chosen_logprobs is not None
    np.testing.assert_allclose(event.signal.chosen_logprobs, chosen, rtol=1e-5, equal_nan=True)
    if shape not in WITHOUT_ALTERNATIVES:
        k = min(len(token.top) for token in tokens) if shape == "own" else None
        assert event.signal.top_logprobs is not None
        for row, token in zip(event.signal.top_logprobs, tokens, strict=True):
            listed = [logprob for _, _, logprob in token.top[:k]]
            np.testing.assert_allclose(row[~np.isnan(row)], listed, rtol=1e-5)


def _is_listed(token: Token) -> bool:
    return any(text == token.text for text, _, _ in token.top)


@pytest.mark.parametrize("stream", STREAMS)
@settings(max_examples=25)
@given(tokens=fair_tokens(min_size=1), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_a_stream_cut_anywhere_has_the_values_of_the_body(stream: str, tokens: list[Token], cuts: list[int]) -> None:
    to_events, to_body = STREAMS[stream]
    events = to_events(pieces(tokens, cuts))
    apart = Decoder().decode([record(event, offset=i) for i, event in enumerate(events)])
    (streamed,), (whole,) = choices_of(apart), choices_of(Decoder().decode([record(to_body(tokens))]))
    for name in ("n_tokens", "n_logprobs", "n_censored", "n_missing", "k"):
        assert streamed[name] == whole[name], name
    for name in ("mean_chosen_logprob", "mean_entropy"):
        expected = whole[name] and pytest.approx(whole[name], rel=1e-4, abs=1e-6)
        assert streamed[name] == expected, name


@pytest.mark.parametrize("shape", BODIES)
@settings(max_examples=25)
@given(tokens=odd_tokens())
def test_odd_values_give_events_within_their_bounds_or_a_dead_letter(shape: str, tokens: list[Token]) -> None:
    check(Decoder(), record(BODIES[shape](tokens)))


@pytest.mark.parametrize("stream", STREAMS)
@settings(max_examples=25)
@given(tokens=odd_tokens(min_size=1), cuts=st.lists(st.integers(0, 20), max_size=4), random=st.randoms())
def test_odd_streams_in_any_order_never_stop_the_assembly(
    stream: str, tokens: list[Token], cuts: list[int], random: Random
) -> None:
    events = STREAMS[stream][0](pieces(tokens, cuts))
    random.shuffle(events)
    events += random.choices(events, k=2)
    decoder = Decoder()
    found = [e for i, event in enumerate(events) for e in check(decoder, record(event, offset=i))]
    for choice in choices_of(found):
        assert choice["n_logprobs"] + choice["n_censored"] + choice["n_missing"] == choice["n_tokens"]


@pytest.mark.parametrize("shape", BODIES)
@settings(max_examples=25)
@given(tokens=odd_tokens(), random=st.randoms(use_true_random=True))
def test_bodies_with_something_changed_give_events_or_one_dead_letter(
    shape: str, tokens: list[Token], random: Random
) -> None:
    check(Decoder(), record(mutated_tree(BODIES[shape](tokens), random)))


@settings(max_examples=200)
@given(number=st.integers(0, len(SEEDS) - 1), random=st.randoms(use_true_random=True))
def test_mutated_bytes_give_events_or_one_dead_letter(number: int, random: Random) -> None:
    body = mutated(SEEDS[number].body, BYTES, random)
    check(Decoder(), Record("t", 0, 0, b"key", body, SEEDS[number].headers))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_events_or_one_dead_letter(body: bytes) -> None:
    check(Decoder(), Record("t", 0, 0, None, body))
    check(Decoder(encoding="msgpack"), Record("t", 0, 0, None, body))


@pytest.mark.parametrize("shape", BODIES)
@settings(max_examples=25)
@given(tokens=fair_tokens(min_size=1, max_size=4), random=st.randoms())
def test_the_detected_format_does_not_depend_on_the_order_of_keys(
    shape: str, tokens: list[Token], random: Random
) -> None:
    body = BODIES[shape](tokens)
    assert _choices([record(_shuffled(body, random))]) == _choices([record(body)])


def _choices(records: Sequence[Record]) -> list[dict[str, Any]]:
    return list(choices_of(Decoder().decode(records)))


def _shuffled(tree: Tree, random: Random) -> Tree:
    if isinstance(tree, dict) and not all(isinstance(value, float) for value in tree.values()):  # not a row of values
        return {key: _shuffled(tree[key], random) for key in random.sample(list(tree), len(tree))}
    return [_shuffled(item, random) for item in tree] if isinstance(tree, list) else tree


@given(numbers=st.lists(st.integers(0, len(SEEDS) - 1), max_size=12), cut=st.integers(0, 12))
def test_events_do_not_depend_on_where_batches_end(numbers: list[int], cut: int) -> None:
    log = [Record("t", 0, i, b"%d" % n, SEEDS[n].body, SEEDS[n].headers) for i, n in enumerate(numbers)]
    decoder = Decoder()
    in_two = decoder.decode(log[:cut]) + decoder.decode(log[cut:])
    assert repr(in_two) == repr(Decoder().decode(log))
