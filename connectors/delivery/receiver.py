"""The port of receivers: something that takes alerts, and what became of an attempt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from driftgauge.connectors.http_exchange import Reply
from driftgauge.models.outputs import Alert

SOURCE = "driftgauge"
"""The name of the sender in messages."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes
    ----------
    result : ``sent``; ``later``: the same alert may be taken later; ``never``: it never will be
    reason : why not; without secrets, addresses and content
    wait_s : seconds that the receiver asks to wait; None where it asks for none
    """

    result: Literal["sent", "later", "never"]
    reason: str = ""
    wait_s: float | None = None


SENT = Outcome("sent")

_MENTION = re.compile(r"(?<!\w)@(?=\w)")

REFUSED = (401, 403)
"""Statuses that refuse the sender: the same alert is taken once the secret is corrected."""


class Receiver(Protocol):
    """Takes alerts. An alert may come again after a crash, with the same identity.

    Attributes
    ----------
    takes_groups : whether one message may be about several alerts of one kind, state and context
    """

    takes_groups: ClassVar[bool]

    def send(self, alerts: Sequence[Alert], /) -> Outcome:
        """Try once, within the time limit of the receiver, with one alert or more where it takes groups.

        The identity of the message is that of the first alert. Raises no error for what the receiver does.
        """
        ...


def without_mentions(text: str) -> str:
    r"""The text with ``@everyone`` and the like made harmless: the names in it are those that clients choose.

    >>> without_mentions("new domain @everyone of a@b"), without_mentions("<@here>")
    ('new domain @\u200beveryone of a@b', '<@\u200bhere>')
    """
    return _MENTION.sub("@\u200b", text)


def outcome(reply: Reply) -> Outcome:
    """What the answer to a request means for the alert in it.

    >>> outcome(Reply(202, b"")).result, outcome(Reply(429, b"", 5.0)).wait_s, outcome(Reply(404, b"?"))
    ('sent', 5.0, Outcome(result='never', reason='status 404', wait_s=None))
    >>> outcome(Reply(401, b"")).result
    'later'
    >>> outcome(Reply(302, b"")).reason, outcome(Reply(0, b"timed out")).reason
    ('status 302: a redirect is not followed', 'no answer: timed out')
    """
    if 200 <= reply.status < 300:
        return SENT
    if not reply.status:
        return Outcome("later", f"no answer: {reply.body.decode('utf-8', 'replace')}")
    if reply.status in REFUSED:
        return Outcome("later", f"status {reply.status}: is the secret right?", reply.retry_after_s)
    reason = f"status {reply.status}" + (": a redirect is not followed" if 300 <= reply.status < 400 else "")
    return Outcome("later" if reply.may_succeed_later else "never", reason, reply.retry_after_s)
