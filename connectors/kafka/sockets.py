"""Sockets that read from a broker in large pieces, and how the Kafka client is made to use them.

The client asks its socket for 4 KiB at a time and accepts more. For each read its thread waits for the interpreter
lock, so with small reads the fetch of some megabytes costs more than everything that is done with its bytes.
"""

from __future__ import annotations

import socket
import ssl

from kafka.net import KafkaNetSocket

READ_BYTES, TLS_READ_BYTES = 1 << 18, 1 << 14
"""Bytes per read. A TLS read returns at most one TLS record, which is 16 KiB."""

DIRECT_URL = "direct://"
"""The ``proxy_url`` with which the client connects through `DirectConnection`."""


class LargeReads(socket.socket):
    """A socket that may return more bytes than the caller asked for."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return up to `READ_BYTES` bytes, however few were asked for."""
        return super().recv(max(bufsize, READ_BYTES), flags)


class LargeTlsReads(ssl.SSLSocket):
    """A TLS socket that may return more bytes than the caller asked for."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return up to `TLS_READ_BYTES` bytes, however few were asked for."""
        return super().recv(max(buflen, TLS_READ_BYTES), flags)


class DirectConnection(KafkaNetSocket):  # type: ignore[misc]  # the client ships no types
    """Connects without a proxy, as the client does by default, but through `LargeReads`.

    The client finds this class by the scheme of `DIRECT_URL`.
    """

    SCHEMES = ("direct",)

    def socket(self, family: int = -1, sock_type: int = -1, proto: int = -1) -> LargeReads:
        """Make the socket of one connection."""
        return LargeReads(family, sock_type, proto)
