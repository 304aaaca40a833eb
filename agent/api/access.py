"""Who may do what: tokens with roles, and the door that is open on loopback only.

A token is known by its SHA-256, so the settings hold nothing that opens the door. Tokens are random (`new_token`), so a
plain hash is enough. Each role is exact: a token that posts labels reads nothing, unless it is listed under both.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from driftgauge.agent.api.problem import Problem

Role: TypeAlias = Literal["read", "label", "ingest", "operate"]
ROLES: tuple[Role, ...] = get_args(Role)

_CHALLENGE = {"www-authenticate": 'Bearer realm="driftgauge"'}


def new_token() -> tuple[str, str]:
    """A random token, and the digest of it that the settings name."""
    token = secrets.token_urlsafe(32)
    return token, digest(token.encode())


def digest(token: bytes) -> str:
    """SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(token).hexdigest()


class Access:
    """Checks requests.

    Parameters
    ----------
    digests : of the tokens of each role
    host : the address that the server listens on; without any token everything is allowed on loopback, and only there

    Examples
    --------
    >>> access = Access({"read": [digest(b"secret")]}, "0.0.0.0")
    >>> access.check("read", "Bearer secret")
    >>> Access({}, "127.0.0.1").check("label", "")
    """

    def __init__(self, digests: Mapping[Role, Sequence[str]], host: str) -> None:
        self._digests = {role: tuple(found) for role, found in digests.items()}
        has_tokens = any(self._digests.values())
        self.is_open = is_loopback(host) and not has_tokens
        self.is_closed = not is_loopback(host) and not has_tokens
        """Whether nobody can be let in."""

    def check_host(self, host: str) -> None:
        """Raise `Problem` where a request without tokens names another host than loopback.

        A page of another site that resolves its own name to 127.0.0.1 sends that name.
        """
        if self.is_open and not is_loopback(_name(host)):
            raise Problem(403, "without tokens only requests to a loopback address are answered; see server.tokens")

    def check(self, role: Role, authorization: str) -> None:
        """Raise `Problem` unless a request with this header has the role."""
        if self.is_open:
            return
        scheme, _, token = authorization.partition(" ")
        given = digest(token.strip().encode("utf-8", "surrogateescape"))
        known = {held for held, digests in self._digests.items() if _holds(digests, given)}
        if scheme.lower() != "bearer" or not known:
            raise Problem(401, "send a token of server.tokens as Authorization: Bearer TOKEN", headers=_CHALLENGE)
        if role not in known:
            raise Problem(403, f"the token does not have the role {role}; it has {', '.join(sorted(known))}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "gauge.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _name(host: str) -> str:
    """The name or address in a Host header; empty where it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that hold no address
        return ""


def _holds(digests: Sequence[str], given: str) -> bool:
    """Whether one of the digests is that of the given token, in a time that does not depend on which."""
    return sum([hmac.compare_digest(held, given) for held in digests]) > 0
