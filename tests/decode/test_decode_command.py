"""`driftgauge decode`: it shows how the agent reads captured payloads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.inspection import decode_file
from tests.decode.chat import USUAL, body, entry

CENSORED = body(entry("a", -0.5, USUAL), entry("x", -9999.0, USUAL), entry("y", -9999.0))


def decode(tmp_path: Path, *contents: bytes, options: tuple[str, ...] = ()) -> tuple[int, Any, str]:
    files = [tmp_path / f"{i}.txt" for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    out = tmp_path / "out.json"
    result = CliRunner().invoke(app, ["decode", *map(str, files), "--json", str(out), *options])
    return result.exit_code, json.loads(out.read_bytes()) if out.exists() else None, result.output


def test_decode_shows_the_usable_tokens_of_each_choice(tmp_path: Path) -> None:
    code, (file,), output = decode(tmp_path, json.dumps(CENSORED).encode())
    (choice,) = file["choices"]
    assert code == 0
    assert file["format"] == "openai"
    wanted = {"id": "r", "model": "m", "finish_reason": "stop", "n_logprobs": 1, "n_censored": 1, "n_missing": 1,
              "k": {"min": 0, "max": 3}, "mean_chosen_logprob": -0.5, "coverage": 1.0, "segments": {"unknown": 3},
              "problems": {"censored_logprob": 1, "sentinel_logprob": 1, "copied_topk": 1}}  # fmt: skip
    assert {name: choice[name] for name in wanted} == wanted
    assert "1 logprobs, 1 censored, 1 missing" in output


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(CENSORED, indent=1).encode(),
        json.dumps([CENSORED]).encode(),
        b"data: " + json.dumps(CENSORED).encode() + b"\r\n\r\ndata: [DONE]\r\n\r\n",
        b"\xef\xbb\xbf\n\n: comment\nevent: x\ndata:" + json.dumps(CENSORED).encode(),
        json.dumps(CENSORED).encode() + b"\n",
    ],
)
def test_decode_reads_bodies_arrays_and_server_sent_events(tmp_path: Path, content: bytes) -> None:
    _, (file,), _ = decode(tmp_path, content)
    assert [choice["id"] for choice in file["choices"]] == ["r"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_decode_reads_compressed_files(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(json.dumps(CENSORED).encode())
    _, (file,), _ = decode(tmp_path, packed)
    assert (file["format"], [choice["id"] for choice in file["choices"]]) == ("openai", ["r"])
    (tmp_path / "cut").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ConnectorError, match="cut: "):
        decode_file(tmp_path / "cut")


def test_decode_reads_json_lines(tmp_path: Path) -> None:
    lines = b"\n".join(json.dumps({**CENSORED, "id": name}).encode() for name in "abc")
    _, (file,), _ = decode(tmp_path, lines)
    assert [choice["id"] for choice in file["choices"]] == ["a", "b", "c"]


def test_decode_shows_a_response_without_requested_logprobs_with_its_reason(tmp_path: Path) -> None:
    value = body()
    value["choices"][0]["logprobs"] = None
    code, (file,), output = decode(tmp_path, json.dumps(value).encode())
    assert code == 0
    assert file["choices"][0]["problems"] == {"not_requested": 1}
    assert file["choices"][0]["k"] is None
    assert "not_requested" in output


def test_decode_shows_rejected_documents_and_ends_with_exit_code_1(tmp_path: Path) -> None:
    code, files, output = decode(tmp_path, b'{"hello": 1}', json.dumps(CENSORED).encode())
    assert code == 1
    assert [len(file["choices"]) for file in files] == [0, 1]
    assert files[0]["rejected"][0]["reason"] == "unknown_format"
    assert "rejected: unknown_format" in output


def test_decode_counts_the_labels_of_a_file(tmp_path: Path) -> None:
    label = {"type": "label", "response_id": "r", "correct": 1.0, "event_time": 1.0}
    code, (file,), output = decode(tmp_path, json.dumps([{**label, "label_id": name} for name in "ab"]).encode())
    assert code == 0
    assert file["labels"] == 2
    assert "  2 labels\n" in output


def test_decode_with_an_unknown_format_is_wrong_usage(tmp_path: Path) -> None:
    code, _, output = decode(tmp_path, b"{}", options=("--format", "hallo"))
    assert code == 2
    assert "openai" in output


def test_decode_accepts_the_name_of_a_server_as_format(tmp_path: Path) -> None:
    code, (file,), _ = decode(tmp_path, json.dumps(CENSORED).encode(), options=("--format", "vllm"))
    assert (code, file["format"]) == (0, "openai")


def test_a_file_in_utf_16_is_read(tmp_path: Path) -> None:
    body = {"id": "r", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "logprobs": {"content": [
        {"token": "a", "logprob": -0.25}]}}]}  # fmt: skip
    code, found, _ = decode(tmp_path, json.dumps(body).encode("utf-16"))
    assert code == 0
    assert [choice["n_logprobs"] for choice in found[0]["choices"]] == [1]
