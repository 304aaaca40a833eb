"""Which headers pass the gateway: all but those of one connection (RFC 9110, 7.6.1), and our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Headers = Iterable[tuple[str, str]]

OWN_PREFIX = "driftgauge-"
"""Request headers with this prefix are ours; they are not sent upstream."""

HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_OF_REQUEST = HOP_BY_HOP | {"host", "expect", "content-length"}
_OF_BYTES = frozenset({"content-length", "content-md5", "content-digest", "digest", "repr-digest", "etag"})
"""Headers that describe the bytes of a body."""


def first_of_each(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    r"""Headers by name in lower case, of several with one name the first.

    Clients write other characters than ASCII in UTF-8, or in Latin-1, as browsers and Python's ``requests`` do.

    >>> first_of_each([("A", b"Z\xc3\xbcrich"), ("a", b"x"), ("B", b"Z\xfcrich")])
    {'a': 'Zürich', 'b': 'Zürich'}
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if (lower := name.lower()) not in found:
            found[lower] = _text_of(value)
    return found


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def to_upstream(headers: Headers, *, reads: bool) -> Iterator[tuple[str, str]]:
    """Headers of a request as they go upstream, without its length.

    Parameters
    ----------
    reads : the answer is to be read, so it must not be compressed

    Examples
    --------
    >>> given = [("Host", "gateway"), ("Connection", "X-Hop"), ("X-Hop", "1"), ("driftgauge-domain", "law"), ("A", "b")]
    >>> list(to_upstream(given, reads=False))
    [('A', 'b')]
    """
    given = list(headers)
    dropped = _OF_REQUEST | _named_by_connection(given)
    for name, value in given:
        lower = name.lower()
        if lower in dropped or lower.startswith(OWN_PREFIX) or (reads and lower == "accept-encoding"):
            continue
        yield name, value
    if reads:
        yield "Accept-Encoding", "identity"


def to_client(headers: Headers, *, has_other_bytes: bool) -> Iterator[tuple[str, str]]:
    """Headers of an answer as they go to the client.

    Parameters
    ----------
    has_other_bytes : log-probabilities are taken out of its body
    """
    given = list(headers)
    dropped = HOP_BY_HOP | _named_by_connection(given) | (_OF_BYTES if has_other_bytes else frozenset())
    return ((name, value) for name, value in given if name.lower() not in dropped)


def _named_by_connection(headers: Headers) -> frozenset[str]:
    values = (value for name, value in headers if name.lower() == "connection")
    return frozenset(part.strip().lower() for value in values for part in value.split(","))
