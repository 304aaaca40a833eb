"""Finds out why a Kafka cluster cannot be reached.

For the Kafka client a refused password, an untrusted certificate and a wrong address are all the same: a timeout. So
this module connects by itself before a client is made: it opens a connection, negotiates TLS, logs in and sends one
request, and its error names the step that failed. It owns no state and ends within ``connect_timeout_s``. No error text
contains a password or anything that a broker sent.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection

DEFAULT_PORT = 9092
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36  # request keys of the Kafka protocol
UNSUPPORTED_MECHANISM, ILLEGAL_SASL_STATE = 33, 34  # error codes of the Kafka protocol
MAX_ANSWER_BYTES = 1 << 20

NOT_YET_VALID, EXPIRED, WRONG_HOSTNAME, WRONG_IP = 9, 10, 62, 64  # OpenSSL's verification codes


class Login(Protocol):
    """The client's side of one SASL exchange, in the form of the Kafka client's mechanisms."""

    def auth_bytes(self) -> bytes:
        """Return the bytes to send next."""
        ...

    def receive(self, auth_bytes: bytes, /) -> object:
        """Take the broker's answer; raise an error when it proves that the broker does not know the password."""
        ...

    def is_done(self) -> bool:
        """Whether the exchange is over."""
        ...


class _RefusalError(Exception):
    """The broker answered and refused."""


def probe(connection: KafkaConnection, new_login: Callable[[], Login] | None = None) -> None:
    """Return as soon as one of the servers accepts the connection.

    Parameters
    ----------
    new_login : makes the client's side of the SASL exchange, for connections that have one

    Raises
    ------
    ConnectorError
        No server accepts the connection; the text names the cause. A refusal, by a server or by the check of its
        certificate, is not retriable; a missing answer is.
    """
    deadline = time.monotonic() + connection.connect_timeout_s
    context = connection.tls_context()
    errors = []
    for n_done, server in enumerate(connection.bootstrap_servers):
        share_s = (deadline - time.monotonic()) / (len(connection.bootstrap_servers) - n_done)
        try:
            return _probe_server(server, max(share_s, 0.1), context, connection, new_login)
        except (OSError, ValueError, _RefusalError) as error:
            errors.append(_explained(error, server, connection))
    if not errors:
        raise ConnectorError("no Kafka broker is configured (bootstrap_servers is empty)", retriable=False)
    raise min(errors, key=lambda error: error.retriable)  # a refusal explains more than a missing answer


def _probe_server(
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
            no_topics = struct.pack(">i?", 0, False)
            _request(open_socket, METADATA, 4, no_topics)


def _log_in(open_socket: socket.socket, connection: KafkaConnection, login: Login) -> None:
    answer = _request(open_socket, SASL_HANDSHAKE, 1, _text(connection.sasl_mechanism))
    match struct.unpack_from(">h", answer)[0]:
        case 0:
            pass
        case code if code == UNSUPPORTED_MECHANISM:
            raise _RefusalError(f"does not offer the SASL mechanism {connection.sasl_mechanism}")
        case code if code == ILLEGAL_SASL_STATE:
            raise _RefusalError("offers no login on this listener: check security_protocol")
        case code:
            raise _RefusalError(f"refuses to negotiate a login (Kafka error {code})")
    while not login.is_done():
        token = login.auth_bytes()
        answer = _request(open_socket, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        code, explanation_bytes = struct.unpack_from(">hh", answer)
        if code != 0:
            user = f"user {connection.sasl_username!r} ({connection.sasl_mechanism})"
            raise _RefusalError(f"refuses {user}: wrong password or unknown user")
        login.receive(answer[4 + max(explanation_bytes, 0) + 4 :])


def _request(open_socket: socket.socket, key: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", key, version, 0) + _text("driftgauge") + body
    open_socket.sendall(struct.pack(">i", len(request)) + request)
    (n_bytes,) = struct.unpack(">i", _receive(open_socket, 4))
    if not 4 <= n_bytes <= MAX_ANSWER_BYTES:
        raise _RefusalError("does not answer in the Kafka protocol without TLS: check the port and security_protocol")
    return _receive(open_socket, n_bytes)[4:]


def _receive(open_socket: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        piece = open_socket.recv(n_bytes - len(received))
        if not piece:
            raise ConnectionResetError
        received += piece
    return received


def _explained(error: Exception, server: str, connection: KafkaConnection) -> ConnectorError:
    """Return an error that names the server, the cause, and the setting to check."""

    def refusal(text: str) -> ConnectorError:
        return ConnectorError(f"Kafka broker {server} {text}", retriable=False)

    match error:
        case _RefusalError():
            return refusal(str(error))
        case ssl.SSLCertVerificationError():
            return refusal(_about_broker_certificate(error, connection))
        case ssl.SSLError() if "CERTIFICATE" in (error.reason or "") or "ALERT" in (error.reason or ""):
            return refusal(_about_client_certificate(error, connection))
        case socket.gaierror():
            return ConnectorError(f"cannot find the host of Kafka broker {server}", retriable=True)
        case ssl.SSLError() | ConnectionResetError() | BrokenPipeError():
            return ConnectorError(
                f"Kafka broker {server} closed the connection: is it starting or stopping, or does it use another"
                f" security_protocol than {connection.security_protocol}?",
                retriable=True,
            )
        case TimeoutError():
            return ConnectorError(f"no answer from a Kafka broker at {server} in time", retriable=True)
        case OSError():
            return ConnectorError(f"no Kafka broker at {server} ({error.strerror or 'no connection'})", retriable=True)
        case _:
            return refusal("does not follow the Kafka protocol, or does not know the password itself")


def _about_broker_certificate(error: ssl.SSLCertVerificationError, connection: KafkaConnection) -> str:
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


def _about_client_certificate(error: ssl.SSLError, connection: KafkaConnection) -> str:
    if not connection.ssl_certfile:
        return "requires a client certificate (ssl_certfile, ssl_keyfile)"
    return f"does not accept the client certificate {connection.ssl_certfile} ({error.reason})"


def address(server: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[v6]:port`` or ``host``.

    >>> address("broker:9093"), address("[::1]:9092"), address("broker")
    (('broker', 9093), ('::1', 9092), ('broker', 9092))
    """
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        return server.strip("[]"), DEFAULT_PORT
    if not port.isdigit():
        raise _RefusalError("is not an address of the form host:port")
    return host.strip("[]"), int(port)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded
