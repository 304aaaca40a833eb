"""What the doors for labels and for payloads have in common: a path, a token, a bound, and answers in JSON."""

from __future__ import annotations

import hmac
from typing import NamedTuple, Protocol

import msgspec


class Answer(NamedTuple):
    """The answer to a request: a status, a JSON body, and the label of counters."""

    status: int
    body: bytes
    outcome: str


class Door(Protocol):
    """Answers POST requests to one path.

    Attributes
    ----------
    kind : counts its requests
    max_bytes : largest body; of a larger one, only a part beyond the bound is handed to the door
    """

    path: str
    kind: str
    max_bytes: int

    def answer(self, authorization: str, body: bytes, *, now: float) -> Answer:
        """Answer a request.

        Parameters
        ----------
        authorization : value of the header; "" where there is none
        now : UTC seconds
        """
        ...


def is_allowed(authorization: str, token: bytes) -> bool:
    """Whether the header is ``Bearer <token>``.

    >>> is_allowed("Bearer secret", b"secret"), is_allowed("Bearer other", b"secret"), is_allowed("", b"secret")
    (True, False, False)
    """
    scheme, _, given = authorization.partition(" ")
    given_bytes = given.strip().encode("utf-8", "surrogateescape")
    return scheme.lower() == "bearer" and hmac.compare_digest(given_bytes, token)


def refusal(status: int, reason: str, detail: str) -> Answer:
    """An answer that names a reason of counters and explains it to people."""
    return Answer(status, msgspec.json.encode({"error": reason, "detail": detail}), reason)
