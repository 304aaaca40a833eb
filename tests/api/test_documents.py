"""docs/api.md names every operation; its questions have answers from the store of the demo; its posts are accepted."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from driftgauge.agent.api.operations import OTHERS, READS
from driftgauge.agent.service import build
from driftgauge.connectors.kafka.topics import create_topics
from tests.api.demo import SHARED
from tests.api.serving import api_on
from tests.api.test_posting import body_of_openai
from tests.kafka.agents import settings_for

TEXT = (Path(__file__).parents[2] / "docs/api.md").read_text()
ADDRESS = "127.0.0.1:9464"
EXAMPLES = re.findall(r"^\$ (curl .+)$", TEXT, re.MULTILINE)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
READING = {operation.path for operation in READS} | {"/v1/health"}


def path_of(command: str) -> str:
    return next(urlsplit(word).path for word in shlex.split(command) if word.startswith("http:"))


def test_there_is_an_example_of_every_operation() -> None:
    assert {path_of(command) for command in EXAMPLES} == {operation.path for operation in (*READS, *OTHERS)}


@SHARED
@needs_curl
@pytest.mark.parametrize("command", [command for command in EXAMPLES if path_of(command) in READING])
def test_a_question_has_an_answer(demo: int, command: str) -> None:
    answer = run(command, demo)
    assert answer.get("items", answer), "the example shows nothing"


@pytest.mark.kafka
@needs_curl
def test_what_the_examples_post_is_accepted(broker: str, tmp_path: Path) -> None:
    settings = settings_for(broker, tmp_path)
    topics = settings.kafka.topics
    create_topics(build.connection(settings), [*topics.generations, *topics.labels], 1, 1)
    build.store(settings).close()
    (tmp_path / "response.json").write_text(json.dumps(body_of_openai("r-1")))
    served = {"generations": topics.generations, "labels": topics.labels}
    with api_on(tmp_path / "store.db", kafka__bootstrap_servers=[broker], kafka__topics=served) as port:
        answers = {path_of(command): run(command, port, tmp_path) for command in EXAMPLES if "Content-Type" in command}
    assert {path: answer.get("accepted", answer.get("status")) for path, answer in answers.items()} == {
        "/v1/labels": 1,
        "/v1/events": 1,
        "/v1/classifiers/rollback": 409,  # no agent runs
    }


def run(command: str, port: int, folder: Path | None = None) -> Any:
    """What the server at this port answers an example."""
    words = shlex.split(command.replace(ADDRESS, f"127.0.0.1:{port}"))
    done = subprocess.run(words, capture_output=True, check=True, timeout=60, cwd=folder)
    return json.loads(done.stdout)
