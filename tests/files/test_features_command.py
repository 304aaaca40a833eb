"""The output of ``driftgauge features``: one row per response, the same from a recording and from its events."""

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.connectors.files.feature_tables import write_features
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.events import Chunk, Generation, Label, Signal
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from tests.copying import replace
from tests.service.test_cli import driftgauge

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
    assert write_features([BUNDLED], tmp_path / "out.npz", advanced.append).responses == sum(advanced) == 1_500
    features, ids = table(tmp_path / "out.npz")
    assert features.shape == (1_500, 22)
    np.testing.assert_array_equal(features, read_recording(BUNDLED).features())
    assert ids[:2] == ["drift-0", "drift-1"]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_features_of_events_equal_those_of_their_recording(tmp_path: Path, name: str) -> None:
    content = b"\n".join(events(700))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert write_features([tmp_path / name], tmp_path / "out.npz").responses == 700
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
    assert write_features([tmp_path / "in.jsonl"], tmp_path / "out.jsonl").responses == 1
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
    assert write_features([tmp_path / "in.jsonl"], tmp_path / "out.npz").responses == 1
    features, _ = table(tmp_path / "out.npz")
    np.testing.assert_allclose(features[0], read_recording(BUNDLED).features()[0], rtol=1e-6, atol=1e-6)


def test_lines_and_responses_without_features_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = next(read_recording(BUNDLED).generations(start_time=1.0))
    unfinished = encode_generation(Chunk(whole, 0, is_last=False), "json")
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([b"{", *events(2), unfinished]))
    with caplog.at_level(logging.WARNING):
        assert write_features([tmp_path / "in.jsonl"], tmp_path / "out.npz").responses == 2
    assert "line 1: malformed" in caplog.text
    assert "the last chunk of 1 responses is missing" in caplog.text


def test_a_table_of_extracted_events_is_a_recording_with_features_and_labels(tmp_path: Path) -> None:
    lines = events(40)
    lines += [encode_label(Label(f"l{i}", f"drift-{i}", 50.0, float(i % 3 == 0)), "json") for i in range(30)]
    lines.append(encode_label(Label("l1", "drift-1", 60.0, 1.0), "json"))  # a correction
    records = [Record("raw", 0, i, None, line, timestamp=5.0) for i, line in enumerate(lines)]
    extracted = [message.value for _, message in RecordExtractor(Decoder()).extract(records, "features", 1, "json")]
    for name, some in (("a", extracted[:20]), ("b", extracted[20:])):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(some))
    (tmp_path / "raw.jsonl").write_bytes(b"\n".join(lines))
    written = write_features([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "out.npz")
    assert (written.responses, written.account.used) == (40, len(lines))
    write_features([tmp_path / "raw.jsonl"], tmp_path / "direct.npz")
    read, direct, whole = (
        read_recording(tmp_path / "out.npz"), read_recording(tmp_path / "direct.npz"), read_recording(BUNDLED),
    )  # fmt: skip
    np.testing.assert_array_equal(read.features(), direct.features())
    np.testing.assert_array_equal(read.features("published"), direct.features("published"))
    np.testing.assert_array_equal(read.labels, [i % 3 == 0 or i == 1 for i in range(30)] + [np.nan] * 10)
    np.testing.assert_array_equal(read.offsets, whole.offsets[:41])
    np.testing.assert_array_equal(read.domain, whole.domain[:40])
    assert read.signal(3).form == "features"


def test_a_recording_whose_features_are_no_set_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", features=np.zeros((2, 5)), offsets=np.zeros(3, int), domain=np.array(["a", "b"]))
    with pytest.raises(ConnectorError, match="`features` has 5 columns, which is no set"):
        read_recording(tmp_path / "wrong.npz")


@pytest.mark.parametrize("name", ["table.npz", "table.jsonl"])
def test_a_failure_leaves_the_table_that_was_there(name: str, tmp_path: Path) -> None:
    out, cut = tmp_path / name, tmp_path / "cut.jsonl.gz"
    out.write_bytes(b"before")
    cut.write_bytes(gzip.compress(b"\n".join(events(9)))[:-9])
    with pytest.raises(ConnectorError):
        write_features([cut], out)
    assert out.read_bytes() == b"before"


def test_the_table_does_not_take_the_place_of_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "events.jsonl"
    source.write_bytes(events(1)[0])
    before = source.read_bytes()
    assert driftgauge("features", source, "--out", tmp_path / "." / "events.jsonl") == 2
    assert "it would be overwritten" in " ".join(capsys.readouterr().err.split())
    assert source.read_bytes() == before
