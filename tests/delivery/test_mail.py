"""Mail on a real server on loopback: one message for each alert, under one Message-ID."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.mail import Mail, MailServer, message
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.store.queries import open_queries
from tests.delivery.loopback import raise_alerts
from tests.store.examples import alert

TEAM = ("team@example.com", "lead@example.com")


class Handler:
    """Keeps messages; answers of RCPT by address, and one of DATA, are planned."""

    def __init__(self, *data: str, **rcpt: str) -> None:
        self.messages: list[tuple[list[str], Any]] = []
        self.data, self.rcpt = list(data), rcpt

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: ARG002, N802
        if planned := self.rcpt.get(address.partition("@")[0]):
            return planned
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        self.messages.append((list(envelope.rcpt_tos), parsed))
        return self.data.pop(0) if self.data else "250 OK"


@contextmanager
def server(handler: Handler, port: int = 0, **options: Any) -> Iterator[MailServer]:
    chosen = port or free_ports(1)[0]
    controller = Controller(handler, hostname="127.0.0.1", port=chosen, **options)
    controller.start()
    try:
        yield MailServer("127.0.0.1", chosen, "none", allow_private=True, timeout_s=10.0)
    finally:
        controller.stop()


def test_a_message_says_what_happened_and_what_to_do() -> None:
    handler = Handler()
    with server(handler) as to:
        assert Mail(to, "gauge@example.com", TEAM, now=lambda: 1767607200.0).send([alert(3)]).result == "sent"
    ((recipients, mail),) = handler.messages
    assert recipients == list(TEAM)
    assert (mail["subject"], mail["from"]) == ("Warning: p_correct fell.", "gauge@example.com")
    assert mail["date"] == "Mon, 05 Jan 2026 10:00:00 +0000"  # every message must have one, says RFC 5322
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("Warning: p_correct fell.\nWhat to do: label some responses of the domain.\n")
    assert "fingerprint: f1" in text


def test_line_breaks_in_an_alert_add_no_header() -> None:
    mail = message([alert(3, message="a\r\nBcc: x@example.com", domain="b\nc")], "g@example.com", TEAM)
    assert mail["bcc"] is None
    assert mail["subject"] == "Warning: a Bcc: x@example.com."


@pytest.mark.parametrize(("answer", "result"), [("450 busy", "later"), ("554 no", "never")])
def test_4xx_is_later_and_5xx_is_never(answer: str, result: str) -> None:
    with server(Handler(answer)) as to:
        assert Mail(to, "gauge@example.com", TEAM).send([alert(3)]).result == result
    with server(Handler(team=answer, lead=answer)) as to:
        assert Mail(to, "gauge@example.com", TEAM).send([alert(3)]).result == result


def test_only_the_addresses_that_were_refused_for_now_are_tried_again() -> None:
    handler = Handler(lead="450 busy")
    with server(handler) as to:
        mail = Mail(to, "gauge@example.com", TEAM)
        assert mail.send([alert(3)]).result == "later"
        handler.rcpt = {}
        assert mail.send([alert(3)]).result == "sent"
        assert mail.send([alert(4)]).result == "sent"
    assert [recipients for recipients, _ in handler.messages] == [[TEAM[0]], [TEAM[1]], list(TEAM)]
    first, again, other = (parsed["message-id"] for _, parsed in handler.messages)
    assert first == again != other


def test_zero_is_a_known_number_and_what_is_unknown_is_left_out() -> None:
    text = message([alert(3, before=0.0, after=None, n=0)], "g@example.com", TEAM).get_content()
    assert "before: 0.0\n" in text
    assert "n: 0\n" in text
    assert "after:" not in text
    assert "rows:" not in text


def test_a_mail_server_that_dies_in_the_middle_gets_every_alert_under_its_one_id(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    handler = Handler("250 OK", "451 lost it")
    alerts = [alert(n, fingerprint=f"f{n}") for n in range(1, 5)]  # no group
    waits = list[float]()

    def pause(wait_s: float) -> bool:
        waits.append(wait_s)
        return True

    to = MailServer("127.0.0.1", port, "none", allow_private=True, timeout_s=10.0)
    with (
        closing(open_queries(raise_alerts(tmp_path / "gauge.db", alerts))) as queries,
        Cursors(tmp_path / "cursors") as cursors,
    ):
        made = Courier(
            "mail", Mail(to, "gauge@example.com", TEAM), queries, cursors,
            wanted=Wanted(), start=0, pause=pause, poll_s=1.0, longest_wait_s=1.0,
        )  # fmt: skip
        with server(handler, port):
            assert not made.step()  # the second one fails
        assert not made.step()  # refused
        with server(handler, port):
            assert made.step()
    assert waits == [1.0, 1.0]
    ids = [parsed["message-id"] for _, parsed in handler.messages]
    assert list(dict.fromkeys(ids)) == [message([one], "g@example.com", TEAM)["message-id"] for one in alerts]


def test_the_connection_is_encrypted_and_the_password_only_sent_then(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    seen = list[Any]()

    def login(*values: Any) -> AuthResult:
        seen.append(values[-1])
        return AuthResult(success=True)

    options: dict[str, Any] = {
        "tls_context": context,
        "require_starttls": True,
        "authenticator": login,
        "auth_required": True,
    }
    handler = Handler()
    with server(handler, **options) as plain:
        known = MailServer(
            "127.0.0.1", plain.port, "starttls", "me", "planted", str(tmp_path / "ca.pem"), allow_private=True
        )
        assert Mail(known, "gauge@example.com", TEAM).send([alert(3)]).result == "sent"
        unknown = MailServer("127.0.0.1", plain.port, "starttls", "me", "planted", allow_private=True)
        assert Mail(unknown, "gauge@example.com", TEAM).send([alert(3)]).result == "later"
    assert [(one.login, one.password) for one in seen] == [(b"me", b"planted")]
    assert len(handler.messages) == 1
    assert "planted" not in repr(known)
    with server(handler, ssl_context=context, authenticator=login, auth_require_tls=False) as wrapped:
        direct = MailServer("127.0.0.1", wrapped.port, "tls", cafile=str(tmp_path / "ca.pem"), allow_private=True)
        assert Mail(direct, "gauge@example.com", TEAM).send([alert(4)]).result == "sent"


def test_a_private_address_gets_no_mail_unless_it_is_allowed() -> None:
    handler = Handler()
    with server(handler) as to:
        outcome = Mail(MailServer("127.0.0.1", to.port, "none"), "gauge@example.com", TEAM).send([alert(3)])
    assert outcome.reason == "no answer: the address is inside a private network, which is not allowed"
    assert handler.messages == []
