"""The envelope of saved state: a format number, the first version of driftgauge that reads it, and the value.

Each kind of state has a `SavedFormat`. When a layout changes, a step is appended that makes the new layout from the one
before, so code of today reads what any version wrote. Values are plain values in MessagePack, never a pickle and never
the private bytes of a library, so that an upgrade of a library cannot make a store unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

FIRST_VERSION = "0.1.0"


class NewerStateError(ValueError):
    """State that a newer driftgauge saved; the text names the version that reads it."""


@dataclass(frozen=True, slots=True)
class SavedFormat:
    """The layout of one kind of saved state.

    Attributes
    ----------
    kind : what is saved, for error messages
    steps : step i makes the value of format i + 2 from that of format i + 1, both as plain values
    since : the first version of driftgauge that reads the newest format

    Examples
    --------
    >>> old, new = SavedFormat("point"), SavedFormat("point", (lambda point: [*point, 0.0],), since="0.2.0")
    >>> new.unpack(old.pack([1.0, 2.0]))
    [1.0, 2.0, 0.0]
    >>> old.unpack(new.pack([1.0, 2.0, 3.0]))
    Traceback (most recent call last):
    driftgauge.models.saved_format.NewerStateError: the saved point has format 2: use driftgauge 0.2.0 or newer
    """

    kind: str
    steps: tuple[Callable[[Any], Any], ...] = ()
    since: str = FIRST_VERSION

    @property
    def number(self) -> int:
        """Number of the newest format, from 1."""
        return 1 + len(self.steps)

    def pack(self, value: Any) -> bytes:
        """The value in its envelope."""
        return msgspec.msgpack.encode((self.number, self.since, value))

    def unpack(self, blob: bytes, type: Any = Any) -> Any:  # noqa: A002 - as in msgspec
        """The value, in the newest format.

        Raises
        ------
        NewerStateError
            A newer driftgauge wrote it.
        ValueError
            It is not of this kind.
        """
        number, since, value = _opened(blob)
        if number > self.number:
            raise NewerStateError(f"the saved {self.kind} has format {number}: use driftgauge {since} or newer")
        try:
            if number == self.number:
                return msgspec.msgpack.decode(value, type=type)
            migrated = msgspec.msgpack.decode(value)
            for step in self.steps[number - 1 :]:
                migrated = step(migrated)
            return msgspec.convert(migrated, type)
        except (msgspec.DecodeError, LookupError, TypeError) as error:
            raise ValueError(f"not a saved {self.kind}: {error}") from error

    def is_old(self, blob: bytes) -> bool:
        """Whether `unpack` migrates this."""
        return _opened(blob)[0] < self.number


def _opened(blob: bytes) -> tuple[int, str, msgspec.Raw | bytes]:
    """Format number, version and value. What version 0.1.0 wrote has no envelope: it is of format 1."""
    try:
        return _ENVELOPE.decode(blob)
    except msgspec.DecodeError:
        return 1, FIRST_VERSION, blob


_ENVELOPE = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw])
