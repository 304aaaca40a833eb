"""The payloads of `fixtures` as the records of a topic: one record per body, or per event of a stream, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftgauge.connectors.base import Record

FOLDER = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Fixture:
    """One file with the values that the decoder must find in it."""

    server: str
    name: str
    expected: dict[str, Any]

    @property
    def path(self) -> Path:
        """The path of the file."""
        return FOLDER / self.server / self.name

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The headers of its records."""
        return tuple((name, value.encode()) for name, value in self.expected.get("headers", {}).items())

    @property
    def is_stream(self) -> bool:
        """Whether it consists of several events."""
        return self.path.suffix != ".json"

    def bodies(self) -> list[bytes]:
        """The body, or the data of each event."""
        raw = self.path.read_bytes()
        if self.path.suffix == ".sse":
            return list(_data(raw.decode()))
        return raw.splitlines() if self.path.suffix == ".ndjson" else [raw]

    def records(self, topic: str = "generations", offset: int = 0) -> list[Record]:
        """Records of one key; an empty body is a tombstone."""
        key = f"{self.server}/{self.name}".encode()
        return [Record(topic, 0, offset + i, key, body or None, self.headers) for i, body in enumerate(self.bodies())]

    def __str__(self) -> str:
        return f"{self.server}/{self.name}"


def _data(text: str) -> Iterator[bytes]:
    """The data of server-sent events, read by the simplest possible code."""
    for block in re.split(r"\n\n+", text.replace("\r\n", "\n")):
        lines = [line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            yield "\n".join(lines).strip().encode()


def fixtures(server: str | None = None) -> list[Fixture]:
    """All of them, or those of one server."""
    return [
        Fixture(path.parent.name, name, expected)
        for path in sorted(FOLDER.glob(f"{server or '*'}/expected.json"))
        for name, expected in json.loads(path.read_bytes()).items()
    ]


SERVERS = sorted(path.parent.name for path in FOLDER.glob("*/expected.json"))
