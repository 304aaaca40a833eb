"""Programs for tests from packages of Debian or Ubuntu: found on the PATH, or unpacked without root."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

_FOLDER = Path(sys.prefix) / "debian"


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is neither installed nor to be had."""
    if found := shutil.which(name):
        return found
    place = _FOLDER / package / "usr" / "bin" / name
    if not place.exists():
        with suppress(OSError, subprocess.SubprocessError):
            _unpack(package)
    if not place.exists():
        pytest.skip(f"{name} is not installed, and `apt-get download {package}` did not give it")
    return str(place)


def _unpack(package: str) -> None:
    """Download a package and unpack it into the environment of the tests."""
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER) as temporary:
        folder = Path(temporary)

        def run(*command: str) -> int:
            return subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False).returncode

        if run("apt-get", "download", package) != 0:  # the machine has no package lists: read them without root
            for name in ("state/lists/partial", "cache/archives/partial"):
                (folder / name).mkdir(parents=True)
            places = ("-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::Cache={folder / 'cache'}")
            run("apt-get", *places, "-o", "Debug::NoLocking=1", "update")
            run("apt-get", *places, "download", package)
        for archive in folder.glob("*.deb"):
            run("dpkg", "-x", str(archive), "unpacked")
        (folder / "unpacked").rename(_FOLDER / package)
