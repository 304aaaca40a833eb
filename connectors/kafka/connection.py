"""Where a Kafka cluster is, and how to log in.

Holds addresses, certificates, user and password, and owns no state. A password is in no text made from it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from driftgauge.connectors.base import ConnectorError


@dataclass(frozen=True)
class KafkaConnection:
    """Where a cluster is and how to log in.

    Attributes
    ----------
    bootstrap_servers : ``host:port`` of some brokers; one that answers is enough
    security_protocol : ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``
    sasl_mechanism : ``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``; used with the two SASL protocols
    ssl_cafile : PEM file of the trusted certificate authorities; empty: the authorities of the operating system
    ssl_certfile, ssl_keyfile : PEM files of the client's certificate and key, for brokers that require them
    ssl_key_password : password of the client's key
    ssl_check_hostname : whether the broker's certificate must name the host that was connected to
    client_id : name of this client in the broker's logs
    connect_timeout_s : seconds to try to connect before an error is raised

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
        """Whether the listener uses TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        """Whether the listener requires a user and a password."""
        return self.security_protocol.startswith("SASL")

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings; None without TLS.

        Raises
        ------
        ConnectorError
            A file cannot be used; the error names the file.
        """
        if not self.is_encrypted:
            return None
        with _errors_naming(self.ssl_cafile or "the system's certificates"):
            context = ssl.create_default_context(cafile=self.ssl_cafile or None)
        context.check_hostname = self.ssl_check_hostname
        if self.ssl_certfile:
            with _errors_naming(f"{self.ssl_certfile}, {self.ssl_keyfile}"):
                # always pass a password: without one OpenSSL asks for it on the terminal
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile or None, self.ssl_key_password)
        return context


@contextmanager
def _errors_naming(files: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = "not usable as PEM, or the wrong password" if isinstance(error, ssl.SSLError) else "cannot be read"
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        raise ConnectorError(f"cannot use {files}: {reason}", retriable=False) from None
