"""The files of the deployment that the tests check, and the programs that read them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from driftgauge.agent.cli import app

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
DOCKERFILE = ROOT / "Dockerfile"
UNITS = sorted((ROOT / "ops" / "systemd").glob("*.service"))
KUBERNETES = ROOT / "ops" / "kubernetes"


def run(program: str, *arguments: str | Path) -> str:
    """The output of a program of this environment; it must succeed and complain about nothing."""
    command = [str(Path(sys.prefix) / "bin" / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@cache
def kustomized(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The objects that a folder of manifests gives."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", folder)))


def check_command_line(arguments: Sequence[str]) -> None:
    """Raise where driftgauge has no such command, or the command no such option."""
    group: Any = get_command(app)
    name, *options = arguments
    group.commands[name].make_context(name, options)


def is_pinned(image: str) -> bool:
    """Whether an image has a tag that names a version."""
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    return any(character.isdigit() for character in tag)
