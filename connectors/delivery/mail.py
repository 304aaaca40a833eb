"""Alerts by e-mail. Every attempt to send a message has the same `Message-ID`."""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, ClassVar, Literal

from driftgauge.connectors.delivery.receiver import SENT, SOURCE, Outcome
from driftgauge.connectors.http_exchange import open_socket
from driftgauge.connectors.publishing.payload import payload
from driftgauge.models.alerts.guide import action, summary
from driftgauge.models.outputs import Alert

Security = Literal["none", "starttls", "tls"]


@dataclass(frozen=True)
class MailServer:
    """A server that takes mail. The password is in no text made from it."""

    host: str
    port: int = 587
    security: Security = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    cafile: str = ""
    allow_private: bool = False
    timeout_s: float = 10.0

    def session(self) -> smtplib.SMTP:
        """A session that is ready to take mail; raises what `smtplib` raises."""
        tls = ssl.create_default_context(cafile=self.cafile or None)
        made = _Plain() if self.security != "tls" else _Encrypted(context=tls)
        made.allow_private, made.timeout = self.allow_private, self.timeout_s
        made._host = self.host  # the name in the certificate; the library sets it only where it connects by itself
        try:
            made.connect(self.host, self.port)
            if self.security == "starttls":
                made.starttls(context=tls)
            if self.username:
                made.login(self.username, self.password)
        except BaseException:
            made.close()
            raise
        return made


class _Plain(smtplib.SMTP):
    allow_private = False
    _host = ""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return open_socket(host, port, timeout, allow_private=self.allow_private)


class _Encrypted(smtplib.SMTP_SSL, _Plain):
    """`SMTP_SSL` wraps the socket of the class after it."""


class Mail:
    """Sends alerts to some addresses.

    A server may refuse some of the addresses. Those that it may take later are tried again, and the others are not.

    Parameters
    ----------
    now : UTC seconds, the date of the next attempt
    """

    takes_groups: ClassVar[bool] = True

    def __init__(
        self, server: MailServer, sender: str, to: tuple[str, ...], now: Callable[[], float] = time.time
    ) -> None:
        self._server, self._sender, self._to, self._now = server, sender, to, now
        self._open = ("", to)

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send one message."""
        first, (key, to) = alerts[0], self._open
        try:
            session = self._server.session()
            try:
                mail = message(alerts, self._sender, self._to)
                mail["Date"] = formatdate(self._now(), usegmt=True)
                refused = session.send_message(mail, self._sender, to if key == first.key else self._to)
            finally:
                with suppress(OSError, smtplib.SMTPException):  # an alert that was taken must not come again for this
                    session.quit()
        except smtplib.SMTPRecipientsRefused as error:
            return self._refused(first, error.recipients)
        except smtplib.SMTPResponseException as error:
            is_ours = isinstance(error, smtplib.SMTPAuthenticationError)  # mended once the password is corrected
            result: Literal["later", "never"] = "later" if is_ours or error.smtp_code < 500 else "never"
            return Outcome(result, f"the mail server says {error.smtp_code}" + (": is the password right?" * is_ours))
        except smtplib.SMTPNotSupportedError:
            return Outcome("never", "the mail server does not support what the settings ask for")
        except (OSError, smtplib.SMTPException) as error:
            return Outcome("later", f"no answer: {getattr(error, 'strerror', None) or type(error).__name__}")
        return self._refused(first, refused) if refused else SENT

    def _refused(self, alert: Alert, recipients: dict[str, Any]) -> Outcome:
        later = tuple(address for address, (code, _) in recipients.items() if code < 500)
        codes = ", ".join(sorted({str(code) for code, _ in recipients.values()}))
        self._open = (alert.key, later)
        reason = f"the mail server refuses {len(recipients)} of the addresses: {codes}"
        return Outcome("later" if later else "never", reason)


def message(alerts: Sequence[Alert], sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The message about some alerts: what happened, what to do, and the fields of each.

    Every message about one alert is in one thread, which its first message begins.

    >>> from driftgauge.models.outputs import Alert
    >>> values = dict(fingerprint="f", event_time=0.0, since=None, what="p_correct", before=0.9, after=0.7, number=1)
    >>> alert = Alert(kind="drift", severity="warning", domain="law", message="p_correct fell", **values)
    >>> mail = message([alert], "gauge@example.com", ("team@example.com",))
    >>> mail["subject"], mail["message-id"]
    ('Warning: p_correct fell.', '<51e16e0391b2433eb40be2794bbf34da@driftgauge>')
    """
    first, mail = alerts[0], EmailMessage()
    mail["Subject"] = _one_line(summary(alerts))[:200]
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Message-ID"] = _message_id(f"{first.key}@{first.event_time!r}")  # two agents may have the same keys
    mail["References"] = _message_id(f"{first.identity}/{first.began}")
    mail["Auto-Submitted"] = "auto-generated"
    details = map(_fields, alerts)
    mail.set_content("\n".join([summary(alerts), f"What to do: {action(first)}.", "", *details]))
    return mail


def _fields(alert: Alert) -> str:
    """The known fields of an alert, one a line; zero is known."""
    known = ((name, value) for name, value in payload(alert).items() if value not in (None, "", (), []))
    return "".join(f"{name}: {value}\n" for name, value in known)


def _message_id(text: str) -> str:
    return f"<{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}@{SOURCE}>"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
