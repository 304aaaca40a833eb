"""Recordings: which files are read, which are refused, and the stream of events made of them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.base import ConnectorError, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.normalise import normalise
from driftgauge.connectors.files.recordings import Recording, read_recording
from driftgauge.connectors.files.traffic import LabelPlan, RecordingSource, Traffic
from driftgauge.models.events import Event, Generation, Label
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.signals.features import extract
from tests.copying import replace

BUNDLED = Path(__file__).parents[1] / "recordings"
LENGTHS = [3, 1, 0, 4]
PARTITION = TopicPartition(RecordingSource.TOPIC, 0)


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    n_tokens = sum(LENGTHS)
    logprobs = np.log(np.sort(rng.dirichlet(np.ones(5), n_tokens))[:, ::-1])
    whole = {
        "offsets": np.concatenate([[0], np.cumsum(LENGTHS)]),
        "topk_logprobs": logprobs.astype(np.float16),
        "entropy": -(np.exp(logprobs) * logprobs).sum(axis=1).astype(np.float32),
        "chosen_logprob": logprobs[:, 0].astype(np.float32),
        "correct": np.array([1, 0, 1, 1], dtype=np.int8),
        "domain": np.array(["a", "b", "a", "b"]),
        "model": np.array(["m"] * 4),
        "truncated": np.array([0, 1, 0, 0], dtype=np.int8),
        "difficulty": np.array([1, 2, 3, 4], dtype=np.int8),
    }
    return {name: array for name, array in {**whole, **changes}.items() if array is not None}


def recording(folder: Path, name: str = "some", **changes: Any) -> Recording:
    path = folder / f"{name}.npz"
    np.savez(path, **arrays(**changes))
    return read_recording(path)


def test_each_response_has_the_tokens_between_its_offsets(tmp_path: Path) -> None:
    r = recording(tmp_path)
    assert [r.signal(i).n_tokens for i in range(len(r))] == LENGTHS
    first = list(r.generations(start_time=10, rate=2))[1]
    assert (first.id, first.domain, first.event_time, first.finish_reason) == ("some-1", "b", 10.5, "length")
    assert first.context.k == 5
    assert first.slices == {"difficulty": "2"}
    assert first.signal.top_logprobs is not None
    np.testing.assert_array_equal(first.signal.top_logprobs[0], arrays()["topk_logprobs"][3].astype(np.float32))


def test_logprobs_in_double_precision_become_float32(tmp_path: Path) -> None:
    r = recording(tmp_path, topk_logprobs=arrays()["topk_logprobs"].astype(np.float64))
    top = r.signal(0).top_logprobs
    assert top is not None
    assert top.dtype == np.float32


def test_a_recording_may_lack_every_optional_array(tmp_path: Path) -> None:
    only_chosen = recording(
        tmp_path, topk_logprobs=None, entropy=None, correct=None, model=None, truncated=None, difficulty=None
    )
    assert only_chosen.signal(0).form == "chosen_logprobs"
    assert np.isnan(only_chosen.labels).all()
    features = only_chosen.features()
    assert np.isnan(features[:, :11]).all()
    assert not np.isnan(features[[0, 1, 3], 11:17]).any()
    assert np.isnan(features[:, 17:]).all()


def test_an_entropy_array_full_of_nan_counts_as_absent(tmp_path: Path) -> None:
    r = recording(tmp_path, topk_logprobs=None, entropy=np.full(sum(LENGTHS), np.nan, dtype=np.float32))
    assert r.entropy is None
    assert r.signal(0).form == "chosen_logprobs"


def test_filler_values_for_not_available_are_missing(tmp_path: Path) -> None:
    chosen = arrays()["chosen_logprob"]
    chosen[:3] = [-9999.0, -np.inf, np.nan]
    r = recording(tmp_path, chosen_logprob=chosen)
    assert r.chosen_logprob is not None
    assert np.isnan(r.chosen_logprob[:3]).all()
    assert np.isnan(r.features()[0, 11:17]).all()


def test_features_of_a_recording_are_those_of_its_signals(tmp_path: Path) -> None:
    r = recording(tmp_path, entropy=None)
    np.testing.assert_array_equal(r.features().astype(np.float32), extract([r.signal(i) for i in range(len(r))]))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_recording_cut_to_k_alternatives_has_the_features_of_an_answer_with_k(tmp_path: Path, k: int) -> None:
    r = recording(tmp_path)
    assert r.topk_logprobs is not None
    cut = r.with_top_k(k)
    assert cut.context(0).k == (None if k == 1 else k)
    answers = [replace(s, top_logprobs=s.top_logprobs[:, :k]) for s in map(r.signal, range(len(r)))]  # type: ignore[index]
    expected = extract(normalise(answers, [True] * len(answers)))
    np.testing.assert_allclose(cut.features().astype(np.float32), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(cut.features()[:, 11:17], r.features()[:, 11:17])
    assert r.with_top_k(r.topk_logprobs.shape[1]) is r


def test_a_recording_is_not_cut_to_more_alternatives_than_it_has(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="has 5 alternatives of a token, not 6"):
        recording(tmp_path).with_top_k(6)
    with pytest.raises(ConnectorError, match="has 0 alternatives of a token, not 1"):
        recording(tmp_path, topk_logprobs=None).with_top_k(1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"offsets": None}, "no `offsets`"),
        ({"domain": None, "offsets": None}, "no `domain`"),
        ({"topk_logprobs": None, "entropy": None, "chosen_logprob": None}, "none of `topk_logprobs`"),
        ({"offsets": np.array([0, 3, 2, 4, 8])}, "never fall"),
        ({"offsets": np.array([0, 3, 4, 4, 9])}, "8 entries for 9 tokens"),
        ({"domain": np.array(["a"])}, "`domain` has 1 entries for 4 responses"),
        ({"correct": np.array([0.0, 0.5, 2.0, 1.0])}, "`correct` leaves"),
        ({"entropy": np.ones((8, 2))}, "shape (8, 2)"),
        ({"chosen_logprob": np.full(8, 0.3)}, "positive"),
        ({"topk_logprobs": np.full((8, 2), b"x")}, "|S1"),
        ({"correct": np.array([{}, {}, {}, {}])}, "allow_pickle"),
    ],
)
def test_the_error_names_the_problem_of_a_recording(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConnectorError) as error:
        recording(tmp_path, **changes)
    assert problem in str(error.value)


def test_one_error_lists_every_problem_of_a_recording(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"`correct` leaves.*`entropy` is negative.*`chosen_logprob` is positive"):
        recording(tmp_path, correct=np.full(4, 7.0), entropy=np.full(8, -1.0), chosen_logprob=np.full(8, 1.0))


def test_a_recording_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("offsets.npy", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(ConnectorError, match="unpacks to"):
        read_recording(path, max_bytes=1_000_000)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_a_file_that_is_not_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ConnectorError, match="cannot be read"):
        read_recording(path)


def bundled() -> list[Recording]:
    return [read_recording(BUNDLED / name) for name in ("reference.npz", "drift.npz")]


def test_the_bundled_recordings_are_complete_and_small() -> None:
    reference, drift = bundled()
    assert (len(reference), len(drift)) == (2_000, 1_500)
    assert set(drift.domain) - set(reference.domain) == {"linu", "modn", "phys"}
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.npz")) < 6_000_000
    assert not np.isnan(reference.features()).any()
    assert reference.features().shape == (2_000, DEFAULT_SPEC.width)


def test_each_label_follows_its_response_after_the_delay() -> None:
    traffic = Traffic(bundled(), LabelPlan(delay=50, fraction=0.2), rate=2.0)
    seen: dict[str, int] = {}
    for event in traffic.events():
        if isinstance(event, Generation):
            seen[event.id] = len(seen)
        else:
            assert len(seen) == min(seen[event.response_id] + 51, 3_500)
            assert event.event_time == traffic.event_time[0] + (seen[event.response_id] + 50) / 2
    assert len(seen) == 3_500


def test_labels_carry_the_truth_of_their_response_and_their_inclusion_probability() -> None:
    traffic = Traffic(bundled(), LabelPlan(fraction=0.2, fractions={"add": 0.05}, without=frozenset({"mul"})))
    truth = dict(zip(traffic.id, zip(traffic.domain, traffic.correct, strict=True), strict=True))
    labels = [event for event in traffic.events() if isinstance(event, Label)]
    assert len({label.label_id for label in labels}) == len(labels) == traffic.n_labels
    for label in labels:
        domain, correct = truth[label.response_id]
        assert label.correct == correct
        assert label.inclusion_probability == (0.05 if domain == "add" else 0.2)
        assert domain != "mul"
    others = sum(domain not in ("add", "mul") for domain, _ in truth.values())
    spread = 4 * (others * 0.2 * 0.8) ** 0.5
    assert abs(sum(truth[label.response_id][0] != "add" for label in labels) - 0.2 * others) < spread


def test_a_plan_per_domain_draws_that_number_of_labels_in_every_domain() -> None:
    traffic = Traffic(bundled(), LabelPlan(per_domain=20))
    labels = [event for event in traffic.events() if isinstance(event, Label)]
    domain = dict(zip(traffic.id, traffic.domain, strict=True))
    of_add = [label for label in labels if domain[label.response_id] == "add"]
    assert len(of_add) == 20
    assert of_add[0].inclusion_probability == 20 / sum(traffic.domain == "add")
    assert len(labels) == 20 * 13


def test_the_same_seed_gives_the_same_stream_from_any_position() -> None:
    def ids(seed: int, first: int = 0) -> list[str]:
        events = Traffic(bundled(), seed=seed).events(first)
        return [event.id if isinstance(event, Generation) else event.label_id for event in events]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert ids(1, first=1_000) == ids(1)[1_000:]


def test_recordings_follow_one_another_and_event_time_grows() -> None:
    traffic = Traffic(bundled())
    assert [name.split("-")[1] for name in traffic.id] == ["reference"] * 2_000 + ["drift"] * 1_500
    assert (np.diff(traffic.event_time) > 0).all()
    twice = Traffic([bundled()[0]] * 2)
    assert len(set(twice.id)) == 4_000


def test_responses_of_unknown_correctness_get_no_label(tmp_path: Path) -> None:
    traffic = Traffic([recording(tmp_path, correct=None)], LabelPlan(fraction=1.0))
    assert traffic.n_labels == 0
    assert traffic.true_accuracy("a", 0, np.inf) is None


def test_the_true_accuracy_is_computed_over_the_window(tmp_path: Path) -> None:
    traffic = Traffic([recording(tmp_path)], seed=3, start_time=0.0)
    order = [int(name.rsplit("-", 1)[1]) for name in traffic.id]
    of_b = [arrays()["correct"][i] for i in order if i in (1, 3)]
    assert traffic.true_accuracy("b", 0, 4) == np.mean(of_b)
    assert traffic.true_accuracy("b", 0, 4, last=1) == of_b[-1]
    assert traffic.true_accuracy("b", 4, 8) is None


def test_a_replay_decodes_to_the_recorded_responses_and_labels() -> None:
    traffic = Traffic(bundled(), LabelPlan(fraction=0.2))
    source = RecordingSource(traffic)
    source.open({})
    decoder, events = Decoder(), list(traffic.events())
    decoded: list[Event] = []
    while not source.is_exhausted:
        assert source.lag() == {PARTITION: len(events) - len(decoded)}
        decoded += decoder.decode(source.poll(0))
    assert source.poll(0) == []
    assert len(decoded) == len(events)
    for there, here in zip(decoded, events, strict=True):
        if isinstance(here, Label):
            assert there == here
        else:
            assert isinstance(there, Generation)
            assert (there.id, there.domain, there.context, there.event_time, there.finish_reason, there.slices) == (
                here.id, here.domain, here.context, here.event_time, here.finish_reason, here.slices,
            )  # fmt: skip
            np.testing.assert_allclose(extract([there.signal]), extract([here.signal]), rtol=1e-5, atol=1e-6)


def test_a_replay_resumes_at_its_position() -> None:
    def offsets(source: RecordingSource, position: int) -> list[int]:
        source.open({PARTITION: position})
        return [record.offset for record in source.poll(0)]

    source = RecordingSource(Traffic(bundled()), max_records=3)
    assert offsets(source, 0) == [0, 1, 2]
    assert offsets(source, 100) == [100, 101, 102]
