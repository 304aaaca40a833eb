"""The seeds of fuzzing: every payload of the fixtures, event by event, and own events in MessagePack."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tests.decode.payloads import fixtures

MSGPACK = (("content-type", b"application/msgpack"),)


@dataclass(frozen=True)
class Seed:
    """Bytes of one record with its headers, and the format they are of."""

    format: str
    body: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def seeds() -> list[Seed]:
    """All of them, in a fixed order."""
    found = [
        Seed(fixture.expected["format"] or "none", body, fixture.headers)
        for fixture in fixtures()
        for body in fixture.bodies()
    ]
    own = [seed for seed in found if seed.format == "driftgauge" and not seed.headers]
    packed = [Seed("driftgauge", msgspec.msgpack.encode(msgspec.json.decode(seed.body)), MSGPACK) for seed in own]
    return found + packed
