"""A connection in the words of Kafka's Java client, for engines that run on Java.

Certificates and keys are passed as their text, so that no other machine needs the files. A key must be PKCS8, which is
the only form that the Java client reads.
"""

from __future__ import annotations

from pathlib import Path

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection

_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def java_properties(connection: KafkaConnection) -> dict[str, str]:
    r"""Properties of the Java client for this connection.

    Raises
    ------
    ConnectorError
        A file of certificates cannot be read.

    Examples
    --------
    >>> java_properties(KafkaConnection(("kafka:9092",), "SASL_PLAINTEXT", "PLAIN", "me", 'a"b'))["sasl.jaas.config"]
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="me" password="a\\"b";'
    """
    found = {
        "bootstrap.servers": ",".join(connection.bootstrap_servers),
        "security.protocol": connection.security_protocol,
    }
    if connection.has_login:
        user, password = _quoted(connection.sasl_username), _quoted(connection.sasl_password)
        found["sasl.mechanism"] = connection.sasl_mechanism
        found["sasl.jaas.config"] = f"{_LOGIN[connection.sasl_mechanism]} required username={user} password={password};"
    if connection.is_encrypted:
        found |= _certificates(connection)
        if not connection.ssl_check_hostname:
            found["ssl.endpoint.identification.algorithm"] = ""
    return found


def _certificates(connection: KafkaConnection) -> dict[str, str]:
    found = dict[str, str]()
    if connection.ssl_cafile:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": _text(connection.ssl_cafile)}
    if connection.ssl_certfile:
        found |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _text(connection.ssl_certfile),
            "ssl.keystore.key": _text(connection.ssl_keyfile),
        }
        if connection.ssl_key_password:
            found["ssl.key.password"] = connection.ssl_key_password
    return found


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, ValueError) as error:
        raise ConnectorError(f"cannot use {file}: {error}", retriable=False) from None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
