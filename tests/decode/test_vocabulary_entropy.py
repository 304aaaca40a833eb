"""The entropy over the whole vocabulary: a form of its own, whose contexts never mix with those of the k likeliest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.models.events import Chunk, Context, Event, Generation, Rejected, Signal
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.signals.features import extract
from tests.copying import replace

RNG = np.random.default_rng(3)
TOP = np.sort(np.log(RNG.dirichlet(np.ones(6), size=40)[:, :5] * 0.9), axis=1)[:, ::-1].astype(np.float32)
ENTROPY = RNG.uniform(0.1, 3, 40).astype(np.float32)
FULL = Signal(TOP[:, 0].copy(), TOP, ENTROPY, is_vocabulary=True)
HEADERS = (("content-type", b"application/msgpack"),)


def response(signal: Signal) -> Generation:
    return Generation("r", 1.76e9, "d", Context(model="m", k=5), signal)


def decoded(value: bytes) -> Event:
    (event,) = Decoder().decode([Record("t", 0, 0, None, value, HEADERS)])
    return event


def own(signal: dict[str, Any]) -> Event:
    event = {"type": "generation", "id": "r", "event_time": 1.76e9, "signal": signal}
    return Decoder().decode([Record("t", 0, 0, None, json.dumps(event).encode())])[0]


def features(signal: Signal) -> dict[str, float]:
    return dict(zip(DEFAULT_SPEC.names, extract([signal])[0].tolist(), strict=True))


@pytest.mark.parametrize("signal", [FULL, replace(FULL, top_logprobs=None)])
@pytest.mark.parametrize("packed", [True, False])
def test_it_survives_encoding_as_a_form_of_its_own(signal: Signal, packed: bool) -> None:
    found = decoded(encode_generation(response(signal), packed=packed, dtype="float32"))
    assert isinstance(found, Generation)
    assert found.signal.form == "vocabulary_entropy"
    np.testing.assert_array_equal(found.signal.entropy, ENTROPY)
    np.testing.assert_allclose(extract([found.signal]), extract([signal]), rtol=1e-6)


def test_its_contexts_never_mix_with_those_of_other_forms() -> None:
    forms = [FULL, replace(FULL, entropy=None), replace(FULL, top_logprobs=None, is_vocabulary=False)]
    assert len({Context(model="m", k=5).fingerprint(signal.form) for signal in forms}) == 3


def test_its_features_are_of_that_entropy_and_those_of_alternatives_of_the_likeliest() -> None:
    full, likeliest = features(FULL), features(replace(FULL, entropy=None))
    profile = features(Signal(FULL.chosen_logprobs, entropy=ENTROPY))
    for name, value in full.items():
        if name.startswith("entropy"):
            assert value == profile[name]
            assert value != likeliest[name]
        else:
            assert value == likeliest[name], name


@pytest.mark.parametrize("k", [0, 1, 5])
def test_pieces_have_the_features_of_the_whole(k: int) -> None:
    whole = replace(FULL, top_logprobs=TOP[:, :k].copy() if k else None)
    assembly = Assembly(AssemblySettings())
    done = []
    for number in range(4):
        piece = response(replace(whole.after(10 * number), entropy=ENTROPY[10 * number :]))
        part = replace(piece.signal, **{
            name: array[:10] for name in ("chosen_logprobs", "top_logprobs", "entropy")
            if (array := getattr(piece.signal, name)) is not None
        })  # fmt: skip
        chunk = decoded(encode_generation(Chunk(response(part), number, number == 3), dtype="float32"))
        assert isinstance(chunk, Chunk)
        done += assembly.completed_by(chunk)
    known = decoded(encode_generation(response(whole), dtype="float32"))
    assert isinstance(known, Generation)
    assert done[0].form == known.signal.form == "vocabulary_entropy"
    np.testing.assert_array_equal(done[0].features(), extract([known.signal])[0])


def test_a_waiting_piece_keeps_it_across_a_restart() -> None:
    assembly = Assembly(AssemblySettings())
    assembly.add(Chunk(response(FULL), 1, is_last=True))
    blobs = {name: blob for name, blob in assembly.snapshot(["r"]).items() if blob is not None}
    restored = Assembly(AssemblySettings()).restore(blobs)
    assert restored.in_flight["r"].waiting[1].piece.signal.form == "vocabulary_entropy"


def test_two_entropies_of_one_response_are_refused() -> None:
    found = own({"entropy": [0.5], "vocabulary_entropy": [0.5]})
    assert isinstance(found, Rejected)
    assert found.reason == "invalid_value"
    assert isinstance(own({"vocabulary_entropy": [65.0]}), Rejected)
