"""Stored raw records become files of features; replayed, they give what the raw records give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.events import Label
from tests.kafka.agent_process import contents
from tests.spark.local import Spark

pytestmark = pytest.mark.xdist_group("spark")
RECORDING = Path(__file__).parents[1] / "recordings" / "drift.npz"
N, START = 300, 1_700_000_000.0


def bodies() -> list[bytes]:
    """Responses and labels in the order of time, as their servers sent them."""
    found = list[bytes]()
    for i, generation in enumerate(read_recording(RECORDING).generations(START, 0.5)):
        if i == N:
            return [*found, b'{"half": ']
        found.append(encode_generation(generation, "json", dtype="float32"))
        if i % 5 == 0:
            label = Label(f"l{i}", generation.id, generation.event_time + 0.5, float(i % 2))
            found.append(encode_label(label, "json"))
    raise AssertionError("the recording is too short")


def replay(files: list[Path], folder: Path) -> dict[str, Any]:
    """The store of a replay, and its account."""
    folder.mkdir()
    options = ("--store", str(folder / "store.db"), "--json", str(folder / "result.json"))
    command = (sys.executable, "-m", "driftgauge.agent.cli", "replay", *map(str, files), *options)
    subprocess.run(command, check=True, capture_output=True)
    found = contents(folder / "store.db")
    found["labels"] = [row[:-2] for row in found["labels"]]  # without the file that they came from
    return {**found, "account": json.loads((folder / "result.json").read_text())["account"]}


@pytest.mark.parametrize("form", ["text", "parquet"])
def test_a_replay_of_backfilled_features_gives_what_the_raw_records_give(
    form: str, spark: Spark, tmp_path: Path
) -> None:
    lines, lake = bodies(), tmp_path / "lake"
    (tmp_path / "raw.jsonl").write_bytes(b"\n".join(lines))
    lake.mkdir()
    halves = {"b": lines[: len(lines) // 2], "a": lines[len(lines) // 2 :]}  # files are not in the order of time
    for name, some in halves.items():
        if form == "text":
            (lake / f"{name}.jsonl").write_bytes(b"\n".join(some))
        else:
            pq.write_table(pa.table({"body": pa.array(some, pa.binary())}), lake / f"{name}.parquet")
    options = ("--format", form, "--out", str(tmp_path / "out"), "--value", "value" if form == "text" else "body")
    command = [*spark.command, "backfill", str(lake), *options, *spark.options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    through = replay(sorted((tmp_path / "out").glob("part-*")), tmp_path / "through")
    direct = replay([tmp_path / "raw.jsonl"], tmp_path / "direct")
    assert len(direct["responses"]) == N
    assert direct["account"]["reasons"] == {"malformed": 1}
    for table in ("account", "responses", "estimates", "alerts", "labels"):
        assert through[table] == direct[table], table
