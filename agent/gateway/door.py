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


def refused(authorization: str, body: bytes, *, token: bytes, setting: str, max_bytes: int) -> Answer | None:
    """The answer to a request without the token, which ``setting`` holds, or with too large a body; None: it may pass.

    >>> refused("Bearer other", b"{}", token=b"secret", setting="gateway.labels_token", max_bytes=9).status
    401
    >>> refused("Bearer secret", b"{}", token=b"secret", setting="gateway.labels_token", max_bytes=9) is None
    True
    """
    if not is_allowed(authorization, token):
        return refusal(401, "unauthorized", f"send the token of {setting} as Authorization: Bearer")
    if len(body) > max_bytes:
        return refusal(413, "too_large", f"a request has at most {max_bytes} bytes")
    return None


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
