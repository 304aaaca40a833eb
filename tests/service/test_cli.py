"""The commands as a user types them: results, exit codes, and one clear message for every error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.agent.cli import main
from driftgauge.agent.commands import terminal
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.traffic import LabelPlan, Traffic
from driftgauge.models.events import Generation

SMALL = ("--set", "windows.window_s=200", "--set", "windows.hop_s=50")


def driftgauge(*arguments: object) -> int:
    """Run one command; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["driftgauge", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """200 responses of two domains that have only the log-probability of the chosen token."""
    rng = np.random.default_rng(1)
    correct = rng.random(200) < 0.6
    lengths = rng.integers(5, 20, 200)
    certain = np.repeat(np.where(correct, 0.1, 1.0), lengths)
    path = tmp_path / "recording.npz"
    np.savez(
        path,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        domain=np.array(["law", "tax"])[rng.integers(0, 2, 200)],
        chosen_logprob=-rng.exponential(certain).astype(np.float32),
        correct=correct.astype(np.int8),
    )
    return path


@pytest.mark.parametrize("command", ["extract", "replay", "judge", "deliver", "features", "acquire", "threshold"])
def test_the_help_of_a_command_is_wrapped_by_the_terminal_alone(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 2_000)
    assert driftgauge(command, "--help") == 0
    before_options = capsys.readouterr().out.partition("╭")[0]
    assert all(line.strip()[-1:] in ("", ".", "]", "}") for line in before_options.splitlines())


def test_a_replay_of_what_its_store_has_says_that_there_is_no_new_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events, store = tmp_path / "events.jsonl", tmp_path / "gauge.db"
    signal = '"signal":{"chosen_logprobs":[-1]}'
    line = f'{{"type":"generation","version":1,"id":"ID","event_time":1e9,"model":"m",{signal}}}\n'
    events.write_text(line.replace("ID", "r-1"))
    assert driftgauge("replay", events, "--store", store) == 0
    assert "1 record, all used." in capsys.readouterr().out
    assert driftgauge("replay", events, "--store", store) == terminal.EXIT_FAILED
    assert f"There was no new record: sqlite:///{store} was filled from here before" in capsys.readouterr().out
    events.write_text(line.replace("ID", "r-1") + line.replace("ID", "r-2"))
    assert driftgauge("replay", events, "--store", store) == 0
    assert "1 record, all used." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("deliver",), "there is no sink"),
        (("judge", "store"), "there is no judge"),
        (("labels", "sync", "--from", "argilla"), "annotation.argilla.url is empty"),
        (("labels", "listen"), "no tool has webhooks"),
        (("run", "--set", "store.url=gauge.db"), "must be sqlite:///file.db"),
    ],
)
def test_what_only_other_settings_can_mend_has_the_exit_code_of_wrong_settings(
    command: tuple[str, ...], problem: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "gauge.db"
    assert driftgauge("replay", recording, *SMALL, "--store", store) == 0
    options = () if "run" in command else ("--store", store)
    assert driftgauge(*command, *options) == terminal.EXIT_WRONG_USAGE
    assert problem in capsys.readouterr().err


def test_a_replay_writes_the_last_estimates_with_the_true_accuracy(recording: Path, tmp_path: Path) -> None:
    arguments = ("replay", recording, "--labels-per-domain", 30, "--no-labels", "tax", "--label-delay", 20, *SMALL)
    assert driftgauge(*arguments, "--json", tmp_path / "one.json") == 0
    found = json.loads((tmp_path / "one.json").read_text())
    assert found.keys() == {"estimates", "priorities", "alerts", "account"}
    law, tax = found["estimates"]
    assert (law["domain"], tax["domain"]) == ("law", "tax")
    assert law["n_labels"] > 0
    assert tax["n_labels"] == 0
    known = np.load(recording)
    for estimate in (law, tax):
        assert estimate["status"] == "ok"
        assert estimate["ci_low"] <= estimate["accuracy"] <= estimate["ci_high"]
        assert estimate["true_accuracy"] == pytest.approx(
            known["correct"][known["domain"] == estimate["domain"]].mean()
        )
    assert [row["rank"] for row in found["priorities"]] == [1, 2]
    assert [alert["kind"] for alert in found["alerts"]][:1] == ["new_context"]


def test_replays_with_the_same_seed_give_the_same_result(recording: Path, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert driftgauge("replay", recording, "--seed", seed, *SMALL, "--json", tmp_path / name) == 0
        results.append(json.loads((tmp_path / name).read_text()))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_replay_of_json_lines_uses_the_labels_in_the_file(recording: Path, tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    traffic = Traffic([read_recording(recording)], LabelPlan(delay=20, fraction=0.3))
    with lines.open("wb") as file:
        for event in traffic.events():
            if isinstance(event, Generation):
                file.write(encode_generation(event, "json", packed=False) + b"\n")
            else:
                file.write(encode_label(event, "json") + b"\n")
    assert driftgauge("replay", lines, *SMALL, "--json", tmp_path / "out.json") == 0
    estimates = json.loads((tmp_path / "out.json").read_text())["estimates"]
    assert [estimate["status"] for estimate in estimates] == ["ok", "ok"]
    assert sum(estimate["n_labels"] for estimate in estimates) == traffic.n_labels
    assert [estimate["true_accuracy"] for estimate in estimates] == [None, None]


def test_a_report_can_be_written_from_the_store_of_a_replay(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "kept.db"
    assert driftgauge("replay", recording, "--store", store, *SMALL) == 0
    capsys.readouterr()
    assert driftgauge("report", "--store", store, "--folder", tmp_path / "reports") == 0
    written = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.suffix for path in written] == [".md", ".json", ".html"]
    assert all(path.stat().st_size for path in written)
    assert driftgauge("report", "--store", store, "--folder", tmp_path / "reports", "--fail-on", "domains<1") == 0
    assert driftgauge("report", "--store", store, "--folder", tmp_path / "reports", "--fail-on", "domains>0") == 3
    assert driftgauge("report", "--store", store, "--fail-on", "accuracy>0") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("features", "HERE", "--out", "table.csv"),
        ("features", "HERE"),
        ("replay", "nowhere.npz"),
        ("replay", "HERE", "--seed", "-1"),
        ("replay", "HERE", "--label-fraction", "1.5"),
        ("replay", "HERE", "--label-delay", "-1"),
        ("replay", "HERE", "--labels-per-domain", "-1"),
        ("replay", "HERE", "--config", "nowhere.yaml"),
        ("replay", "--from", "yesterday"),
        ("produce", "HERE", "--set", "kafka.topics.labels=[]"),
        ("threshold", "--accuracy", "0.9", "--store", "STORE", "--since", "yesterday"),
        ("run", "--set", "windows.hop_s=-1"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_exit_code_2(
    arguments: tuple[str, ...], recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files: dict[str, Any] = {"HERE": recording, "STORE": tmp_path / "gauge.db"}
    if "STORE" in arguments:
        assert driftgauge("replay", recording, *SMALL, "--store", files["STORE"]) == 0
    assert driftgauge(*(files.get(word, word) for word in arguments)) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("aiohttp", ("gateway",)),
        ("matplotlib.figure", ("curves", "HERE", "--out", "curves.png")),
        ("pyarrow", ("labels", "import", "labels.parquet", "--from", "csv", "--dry-run")),
        ("psycopg", ("versions", "--store", "postgresql://127.0.0.1:1/gauge")),
        ("pyspark", ("spark", "stream", "--checkpoint", "here")),
    ],
)
def test_a_missing_extra_ends_with_exit_code_1_and_its_name(
    package: str, arguments: tuple[str, ...], recording: Path, tmp_path: Path
) -> None:
    block = f"import sys; sys.modules[{package!r}] = None; from driftgauge.agent.cli import main; main()"
    words = [str(recording) if word == "HERE" else word for word in arguments]
    ended = subprocess.run([sys.executable, "-c", block, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pip install 'driftgauge[" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("features", "BROKEN", "--out", "out.npz"),
        ("replay", "BROKEN"),
        ("replay", "HERE", "BROKEN"),
        ("replay", "HERE", "--json", "missing/folder/out.json", *SMALL),
        ("features", "HERE", "--out", "missing/folder/out.npz"),
        ("features", "HERE", "--out", "missing/folder/out.jsonl"),
        ("report", "--store", "missing.db"),
        ("demo", "--folder", "."),
    ],
    ids=" ".join,
)
def test_a_failure_ends_with_exit_code_1_and_a_message(
    arguments: tuple[str, ...],
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK nothing")
    files: dict[str, Any] = {"HERE": recording, "BROKEN": broken}
    assert driftgauge(*(files.get(word, word) for word in arguments)) == 1
    printed = capsys.readouterr().err
    assert printed.strip()
    assert "Traceback" not in printed
    assert recording.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "HERE", "--json", "missing/out.json"),
        ("features", "HERE", "--out", "missing/out.npz"),
        ("fit", "HERE", "--out", "missing/out.fit"),
        ("evaluate", "HERE", "--html", "missing/out.html"),
        ("evaluate", "HERE", "--plot", "missing/out.png"),
        ("acquire", "--to", "csv", "--out", "missing/out.csv"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_missing_is_found_before_the_work_begins(
    arguments: tuple[str, ...],
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    recording.write_bytes(b"no recording")
    assert driftgauge(*(recording if word == "HERE" else word for word in arguments)) == 1
    assert capsys.readouterr().err == f"{arguments[-1]}: the folder does not exist\n"


def test_what_an_output_in_ascii_cannot_hold_is_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "größe.json"
    path.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "driftgauge.agent.cli", "decode", path.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "gr??e.json" in done.stdout
    assert "Traceback" not in done.stderr


def test_all_wrong_settings_are_listed_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "driftgauge.yaml"
    config.write_text("kafka: {bootstrap_server: [x]}\nwindows: {hop_s: -1}\n")
    assert driftgauge("check-config", "--config", config, "--set", "server.port=none") == 2
    printed = capsys.readouterr().err
    for problem in ("3 problems", "kafka.bootstrap_server", "windows.hop_s", "server.port"):
        assert problem in printed


def test_progress_is_printed_as_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "PROGRESS_LINE_EVERY_S", 0.0)
    with terminal.progress("learning", 3_000) as advance:
        advance(1_000)
        advance(1_500)
    with terminal.progress("producing") as advance:
        advance(7)
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["learning: 1,000 of 3,000", "learning: 2,500 of 3,000", "producing: 7"]


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        (
            "driftgauge.agent.cli",
            {
                "driftgauge.config",
                "driftgauge.connectors",
                "driftgauge.models",
                "kafka",
                "numpy",
                "pydantic",
                "sqlalchemy",
            },
        ),
        ("driftgauge.agent.service.agent", {"river", "scipy.stats", "sklearn"}),
    ],
)
def test_a_process_starts_without_imports_that_are_slow(module: str, slow: set[str]) -> None:
    script = f"import sys, {module}; print(sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
