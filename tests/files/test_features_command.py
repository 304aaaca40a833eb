"""The output of ``driftgauge features``: one row per response, the same from a recording and from its events."""

import gzip
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.files.feature_tables import write_features
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.events import Chunk, Generation, Signal
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC

BUNDLED = Path(__file__).parents[1] / "recordings" / "drift.npz"


def events(n: int) -> list[bytes]:
    generations = list(read_recording(BUNDLED).generations(start_time=1.0))[:n]
    return [encode_generation(generation, "json", dtype="float32") for generation in generations]


def table(path: Path) -> tuple[npt.NDArray[Any], list[str]]:
    with np.load(path, allow_pickle=False) as archive:
        assert archive["names"].tolist() == list(DEFAULT_SPEC.names)
        return archive["features"], archive["ids"].tolist()


def test_features_of_a_recording_are_rows_in_its_order(tmp_path: Path) -> None:
    advanced: list[int] = []
    assert write_features(BUNDLED, tmp_path / "out.npz", advanced.append).responses == sum(advanced) == 1_500
    features, ids = table(tmp_path / "out.npz")
    assert features.shape == (1_500, 22)
    np.testing.assert_array_equal(features, read_recording(BUNDLED).features())
    assert ids[:2] == ["drift-0", "drift-1"]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_features_of_events_equal_those_of_their_recording(tmp_path: Path, name: str) -> None:
    content = b"\n".join(events(700))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert write_features(tmp_path / name, tmp_path / "out.npz").responses == 700
    features, _ = table(tmp_path / "out.npz")
    np.testing.assert_allclose(features, read_recording(BUNDLED).features()[:700], rtol=1e-5, atol=1e-6)


def test_json_lines_name_every_feature_and_write_null_for_a_missing_one(tmp_path: Path) -> None:
    only_chosen = {
        "type": "generation",
        "id": "r",
        "event_time": 5.0,
        "domain": "d",
        "signal": {"chosen_logprobs": [-1]},
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(only_chosen))
    assert write_features(tmp_path / "in.jsonl", tmp_path / "out.jsonl").responses == 1
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert (row["id"], row["domain"], list(row["features"])) == ("r", "d", list(DEFAULT_SPEC.names))
    assert row["features"]["entropy_mean"] is None
    assert row["features"]["nll_sum"] == 1.0


def piece(whole: Generation, tokens: slice) -> Generation:
    signal = whole.signal
    assert signal.top_logprobs is not None
    assert signal.chosen_logprobs is not None
    part = Signal(chosen_logprobs=signal.chosen_logprobs[tokens], top_logprobs=signal.top_logprobs[tokens])
    return replace(whole, signal=part)


def test_features_of_a_response_in_pieces_are_one_row(tmp_path: Path) -> None:
    whole = next(read_recording(BUNDLED).generations(start_time=1.0))
    parts = [slice(0, 10), slice(10, 11), slice(11, None)]
    chunks = [Chunk(piece(whole, tokens), i, i == 2) for i, tokens in enumerate(parts)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(encode_generation(c, "json", dtype="float32") for c in chunks))
    assert write_features(tmp_path / "in.jsonl", tmp_path / "out.npz").responses == 1
    features, _ = table(tmp_path / "out.npz")
    np.testing.assert_allclose(features[0], read_recording(BUNDLED).features()[0], rtol=1e-6, atol=1e-6)


def test_lines_and_responses_without_features_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = next(read_recording(BUNDLED).generations(start_time=1.0))
    unfinished = encode_generation(Chunk(whole, 0, is_last=False), "json")
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([b"{", *events(2), unfinished]))
    with caplog.at_level(logging.WARNING):
        assert write_features(tmp_path / "in.jsonl", tmp_path / "out.npz").responses == 2
    assert "line 1: malformed" in caplog.text
    assert "the last chunk of 1 responses is missing" in caplog.text
