"""Files that are not in UTF-8, as editors and shells of Windows write them: recognised by their byte order mark."""

from __future__ import annotations

import codecs
import io
from typing import Any

from driftgauge.connectors.decoding.recovery import UNICODE_MARKS

_STEP_BYTES = 2**16


def encoding_of(beginning: bytes) -> str | None:
    r"""The encoding that a byte order mark names; None for UTF-8, and where there is no mark.

    >>> encoding_of(b"\xff\xfe{\x00"), encoding_of(b"{}")
    ('utf-16', None)
    """
    encoding = next((encoding for mark, encoding in UNICODE_MARKS if beginning.startswith(mark)), "utf-8")
    return None if encoding == "utf-8" else encoding.removesuffix("-le").removesuffix("-be")  # reads the mark itself


class Utf8Reader(io.RawIOBase):
    """Reads a file in another encoding as UTF-8; characters that it cannot hold are replaced."""

    def __init__(self, file: io.BufferedIOBase | Any, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""
        self._read = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def tell(self) -> int:
        """Bytes of UTF-8 read so far."""
        return self._read

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes; 0 at the end."""
        is_end = False
        while not self._ready and not is_end:
            step = self._file.read(_STEP_BYTES)
            is_end = not step
            self._ready = self._decoder.decode(step, final=is_end).encode()
        n = min(len(buffer), len(self._ready))
        buffer[:n], self._ready = self._ready[:n], self._ready[n:]
        self._read += n
        return n
