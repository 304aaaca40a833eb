"""One HTTP request and its answer, within bounds of time and size.

A redirect is an answer like any other and is never followed, because a secret would go with it to another server.
Proxies of the environment are not used. No text made here holds a header or an address.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_ANSWER_BYTES = 16 << 20
"""Largest answer that is read; the rest of a larger one is left out."""


class Reply(NamedTuple):
    """The answer of a server; ``status`` 0 and an explanation as ``body`` where there is none.

    ``retry_after_s`` is the wait that the server asks for; None where it asks for none.
    """

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def may_succeed_later(self) -> bool:
        """Whether the same request may succeed later: there was no answer, or the server is busy or broken."""
        return self.status in (0, 408, 429) or self.status >= 500


def exchange(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    connect_timeout_s: float = 5.0,
    cafile: str = "",
    allow_private: bool = True,
    reads_body: bool = True,
) -> Reply:
    """Send a request and read its answer. Raises no error.

    Parameters
    ----------
    url : ``http://`` or ``https://``, with path and query
    timeout_s : seconds that the answer may take
    cafile : PEM file with the certificates to trust; empty: those of the system
    allow_private : False: see `open_socket`
    reads_body : False: the head says all that is wanted, and a body that breaks off or never ends changes nothing

    Examples
    --------
    >>> reply = exchange("GET", "http://127.0.0.1:1/", None, {}, timeout_s=1.0, allow_private=False)
    >>> reply.status, reply.body
    (0, b'the address is inside a private network, which is not allowed')
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with closing(_connected(url, cafile, connect_timeout_s, allow_private)) as connection:
            connection.sock.settimeout(timeout_s)
            deadline = time.monotonic() + timeout_s
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            wait_s = _wait_asked_for(response.getheader("retry-after"), time.time())
            return Reply(response.status, _body(response, deadline) if reads_body else b"", wait_s)
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, (getattr(error, "strerror", None) or type(error).__name__).encode())
    except ValueError:  # its text quotes the header
        return Reply(0, b"the address or a header has characters that HTTP does not allow")


def open_socket(host: str, port: int, timeout_s: float, *, allow_private: bool) -> socket.socket:
    """A connection to a server; the address that is checked is the one that is used.

    Parameters
    ----------
    allow_private : False: connect to addresses of the public internet only, not to loopback or a private network

    Raises
    ------
    OSError
        When there is no connection. `PermissionError`: the address is not allowed.
    """
    problem: OSError = OSError(None, "the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not allow_private and not is_public(str(address[0])):
            problem = PermissionError(None, "the address is inside a private network, which is not allowed")
            continue
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(timeout_s)
            made.connect(address)
        except OSError as error:
            made.close()
            problem = error
        else:
            return made
    raise problem


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet.

    >>> [is_public(address) for address in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (inner or ip).is_global and not (inner or ip).is_multicast


def _connected(url: str, cafile: str, timeout_s: float, allow_private: bool) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        plain = http.client.HTTPConnection(host, parts.port or http.client.HTTP_PORT)
        plain.sock = open_socket(host, plain.port, timeout_s, allow_private=allow_private)
        return plain
    tls = ssl.create_default_context(cafile=cafile or None)
    secure = http.client.HTTPSConnection(host, parts.port or http.client.HTTPS_PORT, context=tls)
    raw = open_socket(host, secure.port, timeout_s, allow_private=allow_private)
    try:
        secure.sock = tls.wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise
    return secure


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body up to the bound; raises `TimeoutError` where a server sends it too slowly."""
    parts, n_bytes = list[bytes](), 0
    while n_bytes < MAX_ANSWER_BYTES and (part := response.read1(min(1 << 16, MAX_ANSWER_BYTES - n_bytes))):
        parts.append(part)
        n_bytes += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError(None, "timed out")
    return b"".join(parts)


def _wait_asked_for(header: str | None, now: float) -> float | None:
    """Seconds in a header ``retry-after``, which has seconds or a date; None where it has neither."""
    if header is None:
        return None
    if header.strip().isdecimal() and header.isascii():
        return float(header)
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None
