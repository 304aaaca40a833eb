"""Files that are not in UTF-8, as editors and shells of Windows write them: recognised by their byte order mark."""

from __future__ import annotations

import codecs
import io
from typing import Any

_ENCODINGS = (  # the longer mark first: it begins like the shorter one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_STEP_BYTES = 2**16


def encoding_of(beginning: bytes) -> str | None:
    """The encoding that a byte order mark names; None for UTF-8, and where there is no mark."""
    return next((encoding for mark, encoding in _ENCODINGS if beginning.startswith(mark)), None)


def in_utf8(value: bytes) -> bytes:
    r"""The same text in UTF-8, from an encoding that its byte order mark names; other bytes stay as they are.

    >>> in_utf8(b"\xff\xfe{\x00}\x00"), in_utf8(b"{\xff}")
    (b'{}', b'{\xff}')
    """
    encoding = encoding_of(value[:4])
    return value if encoding is None else value.decode(encoding, "replace").encode()


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
