"""How to reach a Kafka cluster, and what stands in the way when it cannot be reached.

The Kafka client answers a refused password, an untrusted certificate and a wrong address alike, with a timeout. So
before a client is made this module knocks: it connects, shakes hands, logs in and asks one question, and says at which
of these steps it was turned away. It owns no state, and everything ends within ``connect_timeout_s``. No text it makes
contains a password, nor anything a broker sent.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from driftgauge.connectors.base import ConnectorError

DEFAULT_PORT = 9092
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36  # request keys of the Kafka protocol
UNSUPPORTED_MECHANISM, ILLEGAL_SASL_STATE = 33, 34  # its error codes
LARGEST_ANSWER_BYTES = 1 << 20

READ_BYTES, TLS_READ_BYTES = 1 << 18, 1 << 14
"""Read at once from a broker; TLS gives no more than one of its records."""

NOT_YET_VALID, EXPIRED, WRONG_HOSTNAME, WRONG_IP = 9, 10, 62, 64  # OpenSSL's verification codes

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class KafkaConnection:
    """Where a cluster is and how to log in.

    Attributes
    ----------
    bootstrap_servers : ``host:port`` of some brokers; one that answers is enough
    security_protocol : ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``
    sasl_mechanism : ``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``; used where the protocol is one of SASL
    ssl_cafile : PEM file of the authorities to trust; empty: those of the system
    ssl_certfile, ssl_keyfile : PEM files of our own certificate and key, where the broker asks for one
    connect_timeout_s : how long to try before saying what is wrong

    Examples
    --------
    >>> KafkaConnection(("broker:9092",), sasl_username="alice", sasl_password="secret")  # doctest: +ELLIPSIS
    KafkaConnection(bootstrap_servers=('broker:9092',), ... sasl_username='alice', ssl_cafile='', ...)
    """

    bootstrap_servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_key_password: str = field(default="", repr=False)
    ssl_check_hostname: bool = True
    client_id: str = "driftgauge"
    connect_timeout_s: float = 10.0

    @property
    def is_encrypted(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        """Whether the listener wants a user and a password."""
        return self.security_protocol.startswith("SASL")

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS settings, None without TLS; a `ConnectorError` names the file that cannot be used."""
        if not self.is_encrypted:
            return None
        with _naming(self.ssl_cafile or "the system's certificates"):
            context = ssl.create_default_context(cafile=self.ssl_cafile or None)
        context.check_hostname = self.ssl_check_hostname
        if self.ssl_certfile:
            with _naming(f"{self.ssl_certfile}, {self.ssl_keyfile}"):
                # always a password, so that OpenSSL never asks for one on the terminal
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile or None, self.ssl_key_password)
        return context


class LargeReads(socket.socket):
    """A socket that gives more than it is asked for.

    The client asks for 4 KiB at a time and takes what comes. Each time its thread waits for a turn of the interpreter,
    so with so little at once a fetch of megabytes costs more than all that is done with its bytes.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """What has come, however little was asked for."""
        return super().recv(max(bufsize, READ_BYTES), flags)


class LargeTlsReads(ssl.SSLSocket):
    """The same over TLS."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What has come, however little was asked for."""
        return super().recv(max(buflen, TLS_READ_BYTES), flags)


class Login(Protocol):
    """One SASL exchange from the client's side, as the Kafka client's mechanisms have it."""

    def auth_bytes(self) -> bytes:
        """What to send next."""
        ...

    def receive(self, auth_bytes: bytes, /) -> object:
        """Take the answer; raises when it proves that the broker does not know the password either."""
        ...

    def is_done(self) -> bool:
        """Whether the exchange is over."""
        ...


class _RefusalError(Exception):
    """The broker answered, and the answer is no."""


def knock(connection: KafkaConnection, new_login: Callable[[], Login] | None = None) -> None:
    """Return once one of the servers lets us in; else raise a `ConnectorError` that says what stands in the way.

    ``new_login`` makes the client's side of the SASL exchange, for connections that have one. A refusal, by a server
    or by our own check of its certificate, is not retriable; silence is.
    """
    deadline = time.monotonic() + connection.connect_timeout_s
    context = connection.tls_context()
    troubles = []
    for n_done, server in enumerate(connection.bootstrap_servers):
        share_s = (deadline - time.monotonic()) / (len(connection.bootstrap_servers) - n_done)
        try:
            return _knock_at(server, max(share_s, 0.1), context, connection, new_login)
        except (OSError, ValueError, _RefusalError) as error:
            troubles.append(_explain(error, server, connection))
    if not troubles:
        raise ConnectorError("no Kafka broker is configured (bootstrap_servers is empty)", retriable=False)
    raise min(troubles, key=lambda trouble: trouble.retriable)  # a refusal tells more than silence


def _knock_at(
    server: str,
    timeout_s: float,
    context: ssl.SSLContext | None,
    connection: KafkaConnection,
    new_login: Callable[[], Login] | None,
) -> None:
    host, port = address(server)
    with closing(socket.create_connection((host, port), timeout_s)) as plain:
        plain.settimeout(timeout_s)
        with context.wrap_socket(plain, server_hostname=host) if context else plain as open_socket:
            if connection.has_login and new_login is not None:
                _log_in(open_socket, connection, new_login())
            no_topics_please = struct.pack(">i?", 0, False)
            _ask(open_socket, METADATA, 4, no_topics_please)


def _log_in(open_socket: socket.socket, connection: KafkaConnection, login: Login) -> None:
    answer = _ask(open_socket, SASL_HANDSHAKE, 1, _text(connection.sasl_mechanism))
    match struct.unpack_from(">h", answer)[0]:
        case 0:
            pass
        case code if code == UNSUPPORTED_MECHANISM:
            raise _RefusalError(f"does not offer the SASL mechanism {connection.sasl_mechanism}")
        case code if code == ILLEGAL_SASL_STATE:
            raise _RefusalError("wants no login on this listener: check security_protocol")
        case code:
            raise _RefusalError(f"refuses to negotiate a login (Kafka error {code})")
    while not login.is_done():
        token = login.auth_bytes()
        answer = _ask(open_socket, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        code, explanation_bytes = struct.unpack_from(">hh", answer)
        if code != 0:
            who = f"user {connection.sasl_username!r} ({connection.sasl_mechanism})"
            raise _RefusalError(f"refuses {who}: wrong password or unknown user")
        login.receive(answer[4 + max(explanation_bytes, 0) + 4 :])


def _ask(open_socket: socket.socket, key: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", key, version, 0) + _text("driftgauge") + body
    open_socket.sendall(struct.pack(">i", len(request)) + request)
    (n_bytes,) = struct.unpack(">i", _receive(open_socket, 4))
    if not 4 <= n_bytes <= LARGEST_ANSWER_BYTES:
        raise _RefusalError("does not speak Kafka's protocol in the clear: check the port and security_protocol")
    return _receive(open_socket, n_bytes)[4:]


def _receive(open_socket: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        piece = open_socket.recv(n_bytes - len(received))
        if not piece:
            raise ConnectionResetError
        received += piece
    return received


def _explain(error: Exception, server: str, connection: KafkaConnection) -> ConnectorError:
    """What went wrong, in words that name the server and the setting to look at."""

    def refusal(text: str) -> ConnectorError:
        return ConnectorError(f"Kafka broker {server} {text}", retriable=False)

    match error:
        case _RefusalError():
            return refusal(str(error))
        case ssl.SSLCertVerificationError():
            return refusal(_about_certificate(error, connection))
        case ssl.SSLError() if "CERTIFICATE" in (error.reason or "") or "ALERT" in (error.reason or ""):
            return refusal(_about_our_certificate(error, connection))
        case socket.gaierror():
            return ConnectorError(f"cannot find the host of Kafka broker {server}", retriable=True)
        case ssl.SSLError() | ConnectionResetError() | BrokenPipeError():
            return ConnectorError(
                f"Kafka broker {server} closed the connection: is it starting or stopping, or does it speak another"
                f" security_protocol than {connection.security_protocol}?",
                retriable=True,
            )
        case TimeoutError():
            return ConnectorError(f"no answer from a Kafka broker at {server} in time", retriable=True)
        case OSError():
            return ConnectorError(f"no Kafka broker at {server} ({error.strerror or 'no connection'})", retriable=True)
        case _:
            return refusal("does not follow Kafka's protocol, or does not know our password itself")


def _about_certificate(error: ssl.SSLCertVerificationError, connection: KafkaConnection) -> str:
    trusted = connection.ssl_cafile or "the system's authorities"
    match error.verify_code:
        case code if code == EXPIRED:
            return "shows an expired certificate"
        case code if code == NOT_YET_VALID:
            return "shows a certificate that is not yet valid"
        case code if code in (WRONG_HOSTNAME, WRONG_IP):
            return "shows a certificate for another hostname (ssl_check_hostname)"
        case _:
            return f"shows an untrusted certificate: no authority in {trusted} has signed it (ssl_cafile)"


def _about_our_certificate(error: ssl.SSLError, connection: KafkaConnection) -> str:
    if not connection.ssl_certfile:
        return "requires a client certificate (ssl_certfile, ssl_keyfile)"
    return f"does not accept our client certificate {connection.ssl_certfile} ({error.reason})"


def address(server: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[v6]:port`` or ``host``.

    >>> address("broker:9093"), address("[::1]:9092"), address("broker")
    (('broker', 9093), ('::1', 9092), ('broker', 9092))
    """
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        return server.strip("[]"), DEFAULT_PORT
    if not port.isdigit():
        raise _RefusalError("is no address of the form host:port")
    return host.strip("[]"), int(port)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


@contextmanager
def _naming(files: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = "not usable as PEM, or the wrong password" if isinstance(error, ssl.SSLError) else "cannot be read"
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        raise ConnectorError(f"cannot use {files}: {reason}", retriable=False) from None
