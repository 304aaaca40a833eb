"""What an extractor publishes for a record is read as the record itself would be, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.formats import extracted
from driftgauge.connectors.decoding.formats.own import Encoding, encode_generation, encode_label
from driftgauge.models.events import (
    NO_DOMAIN,
    Arrival,
    Chunk,
    Context,
    Event,
    Generation,
    Label,
    Origin,
    Rejected,
    RejectReason,
    Signal,
)
from driftgauge.models.signals.arrivals import with_features, without_tokens
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec
from tests.copying import replace
from tests.decode.identical import bits
from tests.decode.payloads import Fixture, fixtures
from tests.decode.strategies import Token, Tree, chat, completions, fair_tokens, odd_tokens

FEATURES = "features"
RAW = Record("generations", 2, 7, b"key", b"{}", (), 1.7e9)
OPTIONS: dict[str, Any] = {"keep_text": True, "embeddings": EmbeddingRules(), "features_topic": FEATURES}


def reduced(decoded: Sequence[Event], spec: FeatureSpec = DEFAULT_SPEC) -> list[Event]:
    """What readers and extractors make of decoded events."""
    return [without_tokens(one) if isinstance(one, Arrival) else one for one in with_features(decoded, spec)]


def through(
    record: Record, events: Sequence[Event], *, encoding: Encoding = "msgpack", spec: FeatureSpec = DEFAULT_SPEC
) -> list[Event]:
    """The events after a passage through the topic of features, where they stand at another place."""
    value = extracted.encode(record, events, spec, encoding)
    return Decoder(**OPTIONS, features=spec).decode([Record(FEATURES, 5, 99, b"r", value, (), 1.8e9)])


def check(records: Sequence[Record], encoding: Encoding = "msgpack") -> None:
    for record in records:
        events = reduced(Decoder(**OPTIONS).decode([record]))
        assert bits(through(record, events, encoding=encoding)) == bits(events)


def event(value: bytes, topic: str = FEATURES) -> Event:
    (found,) = Decoder(**OPTIONS).decode([Record(topic, 0, 0, None, value)])
    return found


def message(**changes: Any) -> bytes:
    """An extracted response, with some fields of the event changed."""
    top = np.log(np.array([[0.5, 0.25]], dtype=np.float32))
    whole = Generation("r", 1.7e9, "law", Context(model="m"), Signal(top[:, 0], top))
    fields = msgspec.msgpack.decode(extracted.encode(RAW, reduced([whole])))
    fields["events"][0].update(changes)
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_every_fixture_passes_unchanged(fixture: Fixture, encoding: Encoding) -> None:
    check(fixture.records(), encoding)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(fair_tokens(), odd_tokens()),
    st.sampled_from([chat, completions]),
    st.sampled_from(["", " ", "é\u0301", "x" * 300]),
)
def test_every_decoded_body_passes_unchanged(
    tokens: list[Token], body: Callable[[Sequence[Token]], Tree], name: str
) -> None:
    payload = {**body(tokens), "model": name}
    check([replace(RAW, value=json.dumps(payload).encode())])


TIMES = st.floats(1.0, 4e9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
COUNTS = st.none() | st.integers(0, 2**40)
NUMBERS = st.dictionaries(TEXTS, st.integers(0, 2**31), max_size=3)


def arrays(dtype: str, *shape: int) -> st.SearchStrategy[Any]:
    """Arrays with any bits: infinities, every NaN and negative zero among them."""
    n_bytes = np.dtype(dtype).itemsize * int(np.prod(shape))
    return st.binary(min_size=n_bytes, max_size=n_bytes).map(lambda b: np.frombuffer(b, dtype).reshape(shape))


@st.composite
def generations(draw: st.DrawFn, signal: Signal) -> Generation:
    unit = st.none() | st.floats(0, 2)
    context = Context(
        draw(TEXTS), draw(st.none() | TEXTS), draw(unit), draw(unit), draw(st.none() | TEXTS), draw(COUNTS)
    )
    return Generation(
        draw(NAMES), draw(TIMES), draw(TEXTS), context, signal,
        draw(st.dictionaries(TEXTS, TEXTS, max_size=2)), draw(st.none() | TEXTS), draw(COUNTS), draw(COUNTS),
        draw(COUNTS), None, draw(st.none() | TEXTS), tuple(draw(st.lists(TEXTS, max_size=3))),
        draw(st.sampled_from([{}, {NO_DOMAIN: 1}, {"embedding_unusable": 1, "x": 2}])),
        Origin("generations/2", 1.7e9), draw(st.none() | arrays("<f4", 64)),
    )  # fmt: skip


@st.composite
def arrivals(draw: st.DrawFn, spec: FeatureSpec) -> Arrival:
    features = draw(arrays("<f4", spec.width))
    return without_tokens(
        Arrival(
            draw(generations(Signal(problems=draw(NUMBERS)))), features,
            draw(st.sampled_from(["top_logprobs", "vocabulary_entropy", "features", "none"])),
            draw(st.integers(0, 2**40)), draw(st.sampled_from([None, "no_logprobs", "low_coverage"])),
            draw(st.booleans()), draw(st.none() | arrays("<f4", 13)), draw(st.floats(0, 1)),
        )
    )  # fmt: skip


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    n, k = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    some = {
        "chosen_logprobs": arrays("<f4", n), "top_logprobs": arrays(draw(st.sampled_from(["<f2", "<f4"])), n, k),
        "entropy": arrays("<f4", n), "features": arrays("<f4", 17), "segments": arrays("|u1", n),
        "censored": st.lists(st.booleans(), min_size=n, max_size=n).map(np.array).map(lambda a: a.astype(bool)),
        "alternative_sums": arrays("<f4", n, 3),
    }  # fmt: skip
    given = {name: draw(st.none() | strategy) for name, strategy in some.items()}
    signal = Signal(**given, problems=draw(NUMBERS), is_vocabulary=draw(st.booleans()))
    piece = replace(draw(generations(signal)), token_ids=draw(st.none() | arrays("<i8", n)))
    number = st.none() | st.integers(0, 2**40)
    return Chunk(piece, draw(number), draw(st.booleans()), draw(number), draw(st.booleans()), draw(st.booleans()))


LABELS = st.builds(
    Label, NAMES, NAMES, TIMES, st.none() | st.floats(0, 1), st.sampled_from(["human", "model", "code"]), TEXTS,
    st.none() | st.floats(0.001, 1), st.none() | NAMES, TEXTS, st.just("generations"), st.just(1.7e9),
)  # fmt: skip
LETTERS = st.builds(
    Rejected, st.sampled_from(get_args(RejectReason)), TEXTS, st.just("generations"), st.just(2), st.just(7),
    st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=9),
    st.lists(st.tuples(TEXTS, st.binary(max_size=9)), max_size=2).map(tuple),
)  # fmt: skip
SPECS = st.builds(
    FeatureSpec, st.sampled_from(["published", "extended"]), st.sampled_from(["published", "lower_bound"]),
    st.booleans(),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data(), SPECS)
def test_any_event_survives_to_the_bit(data: st.DataObject, spec: FeatureSpec) -> None:
    events = data.draw(st.lists(st.one_of(arrivals(spec), chunks(), LABELS, LETTERS), max_size=4))
    assert bits(through(RAW, events, spec=spec)) == bits(events)


def test_documents_of_one_record_stay_together_and_keep_their_order() -> None:
    label, letter = Label("l", "r", 1.7e9, 1.0), Rejected("malformed", "x", "generations", 2, 7)
    whole = Generation("r", 1.7e9, "law", Context(), Signal(np.array([-0.5], dtype=np.float32)))
    (found,) = with_features([whole])
    kinds = [type(one).__name__ for one in through(RAW, [label, found, letter])]
    assert kinds == ["Label", "Arrival", "Rejected"]


def test_a_response_of_500_tokens_takes_some_500_bytes() -> None:
    top = np.log(np.full((500, 20), 0.04, dtype=np.float32))
    context = Context(model="gpt-4.1-mini", temperature=0.7, k=20)
    whole = Generation(
        "chatcmpl-BPHzv8XNbVjGrQK1v0p9EKQf2tWz3", 1.7e9, "billing", context, Signal(top[:, 0], top),
        {"language": "de"}, "stop", 900, 500, None, None, None, ("ticket-88123",),
    )  # fmt: skip
    assert len(extracted.encode(RAW, reduced([whole]))) < 520


def test_only_the_topic_of_features_is_believed() -> None:
    value = message()
    assert isinstance(event(value), Arrival)
    stranger = event(value, "generations")
    assert isinstance(stranger, Rejected)
    decoder = Decoder(**OPTIONS)
    assert decoder.head_of(Record("generations", 0, 0, None, value)) is None
    assert decoder.head_of(Record(FEATURES, 0, 0, None, value)) == extracted.Head("generations", 2, 7)


def test_text_and_embedding_are_dropped_where_the_agent_does_not_keep_them() -> None:
    value = message(text="secret", embedding=bytes(256))
    (found,) = Decoder(features_topic=FEATURES).decode([Record(FEATURES, 0, 0, None, value)])
    assert isinstance(found, Arrival)
    assert (found.generation.text, found.generation.embedding) == (None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": bytes(17 * 4)}, "invalid_value"),
        ({"opening": bytes(3)}, "invalid_value"),
        ({"embedding": bytes(4)}, "invalid_value"),
        ({"coverage": 1.5}, "invalid_value"),
        ({"form": "guess"}, "invalid_value"),
        ({"id": "a\x00"}, "invalid_id"),
        ({"event_time": 1e18}, "invalid_time"),
        ({"event_time": float("nan")}, "invalid_time"),
    ],
)
def test_a_wrong_value_is_a_dead_letter(changes: dict[str, Any], reason: str) -> None:
    found = event(message(**changes))
    assert isinstance(found, Rejected)
    assert (found.reason, found.topic) == (reason, FEATURES)


@pytest.mark.parametrize(
    "array",
    [("<f4", [2], bytes(4)), ("<f4", [2, 1], bytes(8)), ("<c8", [1], bytes(8)), ("<f4", [2**40, 2**40], b"")],
)
def test_an_array_that_is_not_what_it_says_is_a_dead_letter(array: tuple[str, list[int], bytes]) -> None:
    piece = Generation("r", 1.7e9, "law", Context(), Signal(np.zeros(2, dtype=np.float32)))
    fields = msgspec.msgpack.decode(extracted.encode(RAW, [Chunk(piece, 0, is_last=False)]))
    fields["events"][0]["chosen_logprobs"] = array
    found = event(msgspec.msgpack.encode(fields))
    assert isinstance(found, Rejected)
    assert found.reason == "invalid_value"


def test_arrays_of_different_lengths_are_a_dead_letter() -> None:
    signal = Signal(np.zeros(2, dtype=np.float32), entropy=np.zeros(3, dtype=np.float32))
    piece = Chunk(Generation("r", 1.7e9, "law", Context(), signal), 0, is_last=False)
    found = event(extracted.encode(RAW, [piece]))
    assert isinstance(found, Rejected)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 600), st.binary(min_size=1, max_size=4), st.booleans())
def test_no_bytes_raise_an_error(at: int, planted: bytes, is_piece: bool) -> None:
    piece = Chunk(Generation("r", 1.7e9, "law", Context(), Signal(np.zeros(2, dtype=np.float32))), 0, is_last=False)
    value = extracted.encode(RAW, [piece]) if is_piece else message()
    at %= len(value)
    for broken in (value[:at] + planted + value[at + len(planted) :], value[:at], value[:at] + planted + value[at:]):
        record = Record(FEATURES, 0, 0, None, broken)
        assert all(isinstance(one, Arrival | Chunk | Rejected) for one in Decoder(**OPTIONS).decode([record]))
        Decoder(**OPTIONS).head_of(record)


def test_features_of_another_set_are_a_dead_letter_that_names_both() -> None:
    whole = Generation("r", 1.7e9, "law", Context(), Signal(np.array([-0.5], dtype=np.float32)))
    published = FeatureSpec("published")
    found = event(extracted.encode(RAW, with_features([whole], published), published))
    assert isinstance(found, Rejected)
    assert found.reason == "other_features"
    assert "published/published" in found.detail
    assert "extended/published" in found.detail


def test_another_version_is_a_dead_letter() -> None:
    fields = msgspec.msgpack.decode(message())
    start = {"type": fields.pop("type"), "version": 2}
    found = event(msgspec.msgpack.encode({**start, **fields}))
    assert isinstance(found, Rejected)
    assert found.reason == "unknown_version"


def test_an_event_that_is_too_large_leaves_a_dead_letter_that_names_the_raw_record() -> None:
    letter = Rejected("malformed", "not JSON", "generations", 2, 7, b"k", b"x" * 1_000, (("a", b"b"),))
    short = event(extracted.without_content(extracted.encode(RAW, [letter]), 100))
    assert isinstance(short, Rejected)
    assert (short.reason, short.key, short.value, short.headers) == ("malformed", b"k", None, ())
    assert (short.topic, short.partition, short.offset) == ("generations", 2, 7)
    assert short.detail.startswith("not JSON; ")
    other = event(extracted.without_content(message(), 100))
    assert isinstance(other, Rejected)
    assert other.reason == "too_large"


def test_a_posted_label_and_generation_in_the_topic_of_features_are_decoded_as_usual() -> None:
    whole = Generation("r", 1.7e9, "law", Context(), Signal(np.array([-0.5], dtype=np.float32)))
    records = [Record(FEATURES, 0, i, None, value) for i, value in enumerate(
        [encode_generation(whole, "json"), encode_label(Label("l", "r", 1.7e9, 1.0), "json"), message()]
    )]  # fmt: skip
    assert [type(one).__name__ for one in Decoder(**OPTIONS).decode(records)] == ["Generation", "Label", "Arrival"]
