"""What a reader sends: the events that the agent would decode itself, without their arrays."""

from __future__ import annotations

import pickle

import numpy as np

from driftgauge.agent.service.reader_pool import PoolDecoder
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.models.events import Arrival, Chunk, Context, Generation, Label, Rejected, Signal
from driftgauge.models.signals.arrivals import with_features

TOP = np.log(np.array([[0.5, 0.25], [0.75, 0.125]], dtype=np.float32))


def response(name: str) -> Generation:
    return Generation(name, 1.7e9, "law", Context(model="m", temperature=0.5), Signal(TOP[:, 0], TOP))


def test_a_reader_sends_the_events_that_the_agent_would_decode_itself() -> None:
    odd = Generation("odd", 1.7e9, "law", Context(model="m"), Signal(np.array([-9999.0, -0.5]), TOP))
    label = Label("l", "r0", 1.7e9, 1.0)
    values = [
        *(encode_generation(event, "json", packed=False) for event in (response("r0"), odd)),
        b"{",
        encode_generation(Chunk(response("r1"), sequence=0, is_last=False), "json", packed=False),
        None,
        encode_label(label, "json"),
    ]
    records = [Record("t", 0, i, b"k", value, (), 1.7e9) for i, value in enumerate(values)]
    received = pickle.loads(pickle.dumps(RecordExtractor(Decoder()).decode(records)))  # noqa: S301 - our own bytes
    assert [(r.offset, r.key, r.value, len(r.events)) for r in received] == [
        (i, b"k", None if value is None else b"", int(value is not None)) for i, value in enumerate(values)
    ]
    first, other, rejected, chunk, last = PoolDecoder().decode(received)
    expected = with_features(Decoder().decode(records))
    assert isinstance(first, Arrival)
    assert isinstance(other, Arrival)
    for found, wanted in zip((first, other), expected, strict=False):
        assert isinstance(wanted, Arrival)
        np.testing.assert_array_equal(found.features, wanted.features)
        assert (found.form, found.n_tokens, found.problem) == (wanted.form, wanted.n_tokens, wanted.problem)
        assert found.generation.context == wanted.generation.context
        assert found.generation.signal.problems == wanted.generation.signal.problems
    assert other.generation.signal.problems == {"censored_logprob": 1}
    assert isinstance(rejected, Rejected)
    assert rejected.value == b"{"
    assert isinstance(chunk, Chunk)
    assert chunk.piece.signal.top_logprobs is not None
    np.testing.assert_array_equal(chunk.piece.signal.top_logprobs, TOP)
    assert last == label


def test_a_reader_sends_less_than_1000_bytes_per_response() -> None:
    top = np.log(np.full((500, 20), 0.05, dtype=np.float32))
    long = Generation("r", 1.7e9, "law", Context(model="m"), Signal(top[:, 0], top))
    records = [Record("t", 0, i, b"k", encode_generation(long, "json")) for i in range(100)]
    assert len(pickle.dumps(RecordExtractor(Decoder()).decode(records))) < 100 * 1_000
