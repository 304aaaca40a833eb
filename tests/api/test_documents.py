"""docs/api.md names every operation, and its questions have answers from the store of the demo."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from driftgauge.agent.api.operations import OTHERS, READS
from tests.api.demo import SHARED

TEXT = (Path(__file__).parents[2] / "docs/api.md").read_text()
ADDRESS = "127.0.0.1:9464"
EXAMPLES = re.findall(r"^\$ (curl .+)$", TEXT, re.MULTILINE)
READING = {operation.path for operation in READS} | {"/v1/health"}


def path_of(command: str) -> str:
    return next(urlsplit(word).path for word in shlex.split(command) if word.startswith("http:"))


def test_there_is_an_example_of_every_operation() -> None:
    assert {path_of(command) for command in EXAMPLES} == {operation.path for operation in (*READS, *OTHERS)}


@SHARED
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", [command for command in EXAMPLES if path_of(command) in READING])
def test_a_question_has_an_answer(demo: int, command: str) -> None:
    words = shlex.split(command.replace(ADDRESS, f"127.0.0.1:{demo}"))
    done = subprocess.run([*words, "--fail-with-body"], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    assert answer.get("items", answer), "the example shows nothing"
