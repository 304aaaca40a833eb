"""Responses in pieces: their order, bounds and state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.models.events import Chunk, Context, Generation
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.features import extract
from tests.pipeline.logs import signal

RNG = np.random.default_rng(3)
PIECES = [signal(RNG, n) for n in (3, 1, 7, 2)]


def chunk(n: int | None, *, response: str = "r", at: float = 0.0, last: int = 3, piece: int | None = None) -> Chunk:
    which = piece if piece is not None else (n or 0)
    generation = Generation(response, at, "d", Context(model="m"), PIECES[which])
    return Chunk(generation, n, is_last=which == last)


def features_of_whole() -> np.ndarray:
    top = np.concatenate([p.top_logprobs for p in PIECES if p.top_logprobs is not None])
    chosen = np.concatenate([p.chosen_logprobs for p in PIECES if p.chosen_logprobs is not None])
    features: np.ndarray = extract([type(PIECES[0])(top_logprobs=top, chosen_logprobs=chosen)])[0]
    return features


@given(st.permutations(range(4)))
def test_pieces_in_any_order_have_the_features_of_the_whole_response(order: list[int]) -> None:
    assembly = Assembly(AssemblySettings())
    done = [assembly.add(chunk(n)) for n in order]
    assert [d.is_complete for d in done] == [False, False, False, True]
    assert (done[-1].response.accumulator.features() == features_of_whole()).all()
    assert not assembly.in_flight


def test_pieces_without_numbers_are_taken_in_order_of_arrival() -> None:
    assembly = Assembly(AssemblySettings())
    done = [assembly.add(chunk(None, piece=n)) for n in range(4)]
    assert done[-1].is_complete
    assert (done[-1].response.accumulator.features() == features_of_whole()).all()


def test_a_piece_seen_before_is_reported_and_ignored() -> None:
    assembly = Assembly(AssemblySettings())
    assembly.add(chunk(0))
    assert assembly.add(chunk(0)).problem == "duplicate_chunk"
    assert assembly.in_flight["r"].accumulator.n_tokens == 3


def test_a_piece_beyond_the_most_that_may_wait_is_refused() -> None:
    assembly = Assembly(AssemblySettings(max_waiting=1))
    assert assembly.add(chunk(2)).problem == "chunk_out_of_order"
    assert assembly.add(chunk(3)).problem == "too_many_chunks_waiting"


def test_a_new_response_evicts_the_one_without_a_piece_for_longest() -> None:
    assembly = Assembly(AssemblySettings(max_in_flight=2))
    for name in ("a", "b"):
        assembly.add(chunk(0, response=name))
    assembly.add(chunk(1, response="a"))
    evicted = assembly.add(chunk(0, response="c")).evicted
    assert evicted is not None
    assert evicted.head.id == "b"


def test_a_response_without_a_new_piece_expires() -> None:
    assembly = Assembly(AssemblySettings(expiry_s=10.0))
    assembly.add(chunk(0, at=100.0))
    assert assembly.expire(lambda _: 110.0) == []
    assert [r.head.id for r in assembly.expire(lambda _: 110.1)] == ["r"]
    assert not assembly.in_flight


@pytest.mark.parametrize("order", [[0, 1], [0, 2], [1, 3]])
def test_a_restored_response_continues_as_if_never_interrupted(order: list[int]) -> None:
    straight = Assembly(AssemblySettings())
    for n in order:
        straight.add(chunk(n))
    state = {i: blob for i, blob in straight.snapshot(["r"]).items() if blob is not None}
    restored = Assembly(AssemblySettings()).restore(state)
    assert restored.snapshot(["r"]) == straight.snapshot(["r"])
    done = [restored.add(chunk(n)) for n in {0, 1, 2, 3} - set(order)][-1]
    assert done.is_complete
    assert (done.response.accumulator.features() == features_of_whole()).all()
