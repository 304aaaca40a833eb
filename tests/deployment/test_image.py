"""The image: what goes into it, what it runs, and as whom."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import closing

import yaml
from prometheus_client import CollectorRegistry

from driftgauge.agent.outlets.health import Health, routes
from driftgauge.agent.outlets.http import Server, listen, pages
from driftgauge.config.settings import Settings
from tests.deployment.files import COMPOSE, DOCKERFILE, ROOT, check_command_line, is_pinned, run
from tests.test_packaging import LAYERS

TEXT = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
LINES = [tuple(line.split(maxsplit=1)) for line in TEXT.splitlines() if line]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def values(instruction: str) -> list[str]:
    return [value for name, value in LINES if name == instruction]


def defaults() -> dict[str, str]:
    return dict(value.split("=", 1) for value in values("ARG"))


def test_hadolint_finds_nothing() -> None:
    assert run("hadolint", DOCKERFILE) == ""


def test_its_base_is_pinned_and_admitted_by_the_package() -> None:
    python = defaults()["PYTHON"]
    bases = [value.replace("${PYTHON}", python).split()[0] for value in values("FROM")]
    assert all(map(is_pinned, bases))
    assert len({*bases}) == 1  # the environment is made by the Python that runs it
    least = PROJECT["requires-python"].removeprefix(">=")
    assert [*map(int, python.partition("-")[0].split("."))] >= [*map(int, least.split("."))]


def test_the_builder_gets_what_the_package_is_made_of_and_nothing_else() -> None:
    copied = {name for value in values("COPY") if "--from" not in value for name in value.split()[:-1]}
    assert copied == {*LAYERS, "pyproject.toml", "README.md", "LICENSE"}
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_its_extras_are_those_of_the_package() -> None:
    assert {*defaults()["EXTRAS"].split(",")} <= {*PROJECT["optional-dependencies"]}


def test_it_is_run_by_a_user_without_rights_whose_only_folder_is_the_volume() -> None:
    user, folder = values("USER")[-1], values("WORKDIR")[-1]
    assert user == "65532:65532"
    assert values("VOLUME") == [folder]
    assert f"--owner=65532 --group=65532 --mode=0750 {folder}" in values("RUN")[-1]


def test_the_default_store_reports_and_cursors_are_on_the_volume() -> None:
    settings = Settings()
    assert settings.store.url.get_secret_value().startswith("sqlite:///driftgauge")  # relative to the working directory
    assert not settings.delivery.cursors.is_absolute()


def test_it_runs_the_agent_and_asks_the_agents_port_for_health() -> None:
    (entry,), (command,), (port,) = values("ENTRYPOINT"), values("CMD"), values("EXPOSE")
    assert json.loads(entry) == ["driftgauge"]
    check_command_line(json.loads(command))
    assert int(port) == Settings().server.port
    assert f"HEALTH_URL=http://127.0.0.1:{port}/healthz" in shlex.split(values("ENV")[0])


def test_its_health_check_fails_for_a_process_that_is_stuck_or_gone() -> None:
    program = json.loads(values("HEALTHCHECK")[0].partition(" CMD ")[2])
    now = [0.0]
    health = Health(now=lambda: now[0])

    def code() -> int:
        environment = {**os.environ, "HEALTH_URL": f"http://127.0.0.1:{server.port}/healthz"}
        done = subprocess.run([sys.executable, *program[1:]], env=environment, capture_output=True, check=False)
        return done.returncode

    with closing(Server(pages(routes(health, CollectorRegistry())), listen("127.0.0.1", 0))) as server:
        assert code() == 0
        now[0] = 2 * health.stuck_after_s
        assert code() == 1
    assert code() == 1


def test_compose_builds_it_under_the_version_of_the_package() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    assert compose["x-driftgauge"]["image"] == f"driftgauge:{PROJECT['version']}"
    assert compose["x-driftgauge"]["build"] == "."
