"""A coverage-guided target per decoder of the table, run by atheris from a corpus of the fixtures.

    python -m tests.fuzz.targets [NAME ...] [--seconds S]

Runs each target for so many seconds; the corpus grows in ``out/fuzz/NAME`` and inputs that break a property are left
there as ``crash-…``. Exit code 1 if any did.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue] - its stubs lack it
    include=["driftgauge.connectors.decoding.decoder", "driftgauge.connectors.decoding.formats"]
):
    from driftgauge.connectors.base import Record
    from driftgauge.connectors.decoding.decoder import Decoder
    from driftgauge.connectors.decoding.formats.table import NAMES
from tests.fuzz.checks import check
from tests.fuzz.seeds import seeds

FOLDER = Path("out/fuzz")
MAX_RSS_MIB = 1_024
LIMITS = (f"-rss_limit_mb={MAX_RSS_MIB}", "-timeout=10", "-max_len=8192", "-verbosity=0", "-print_final_stats=1")


def write_corpus(name: str) -> Path:
    """The seeds of a format as files; those of all formats for ``auto``."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        if seed.format == name and not seed.headers:
            (folder / hashlib.sha256(seed.body).hexdigest()[:16]).write_bytes(seed.body)
    return folder


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one decoder in this process; never returns."""
    folder = write_corpus(name)
    decoder = Decoder(format=name)

    def one_input(data: bytes) -> None:
        check(decoder, Record("fuzz", 0, 0, b"key", data))

    atheris.Setup(
        [sys.argv[0], *LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", str(folder)], one_input
    )
    atheris.Fuzz()


def main() -> int:
    """Fuzz the decoders named, or all, one after another in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz(options.names[0], options.seconds)
    command = [sys.executable, "-m", "tests.fuzz.targets", "--here", "--seconds", str(options.seconds)]
    codes = {name: subprocess.run([*command, name], check=False).returncode for name in options.names}
    for name, code in codes.items():
        print(f"{name}: {'ok' if code == 0 else f'exit code {code}; see {FOLDER / name}'}")
    return 1 if any(codes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
