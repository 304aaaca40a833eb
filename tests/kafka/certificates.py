"""Certificates, valid and invalid, and a broker with a listener for each."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from driftgauge.connectors.kafka.local_broker import BrokerSecurity, KafkaBroker, free_ports

SECRET = "plAnted-pAssw0rd-1"
OTHER_SECRET = "plAnted-pAssw0rd-2"
KEY_SECRET = "plAnted-pAssw0rd-3"
USER = "gauge"
SPECIAL_LISTENERS = ("EXPIRED", "ELSEWHERE", "LOGIN")


class Authority:
    """A certificate authority and its files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.authority = trustme.CA()
        self.file = folder / f"{name}-authority.pem"
        self.authority.cert_pem.write_to_path(str(self.file))

    def issue(self, host: str, name: str, days: int = 1, key_password: str = "") -> tuple[Path, Path]:
        """Certificate chain and key (PKCS8), each in a file."""
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        made = self.authority.issue_cert(host, not_after=end)
        chain, key = (self.folder / f"{self.name}-{name}-{part}.pem" for part in ("chain", "key"))
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        locked: KeySerializationEncryption = NoEncryption()
        if key_password:
            locked = BestAvailableEncryption(key_password.encode())
        loaded = load_pem_private_key(made.private_key_pem.bytes(), None)
        key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return chain, key

    def keystore(self, host: str, name: str, days: int = 1) -> Path:
        """Key and chain in one file, as a broker needs them."""
        chain, key = self.issue(host, name, days)
        store = self.folder / f"{self.name}-{name}-store.pem"
        store.write_bytes(key.read_bytes() + chain.read_bytes())
        return store


class GuardedBroker(KafkaBroker):
    """A broker with TLS listeners, some with invalid certificates, and a plain listener that requires a login."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        good = authority.keystore("localhost", "broker")
        wrong = {
            "expired": authority.keystore("localhost", "expired", days=-1),
            "elsewhere": authority.keystore("elsewhere.example", "elsewhere"),
        }
        super().__init__(folder, security=BrokerSecurity(good, authority.file, {USER: SECRET}))
        self.special = dict(zip(SPECIAL_LISTENERS, (f"localhost:{port}" for port in free_ports(3)), strict=True))
        listeners = self._listener_properties()
        extra = [f"{name}://{address}" for name, address in self.special.items()]
        protocols = "EXPIRED:SSL,ELSEWHERE:SSL,LOGIN:SASL_PLAINTEXT"
        self._properties = {
            "listeners": ",".join([listeners["listeners"], *extra]),
            "advertised.listeners": ",".join([listeners["advertised.listeners"], *extra]),
            "listener.security.protocol.map": f"{listeners['listener.security.protocol.map']},{protocols}",
            "listener.name.login.plain.sasl.jaas.config": listeners["listener.name.sasl_ssl.plain.sasl.jaas.config"],
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            **{f"listener.name.{name}.ssl.keystore.location": str(store) for name, store in wrong.items()},
        }
