"""Requests to annotation tools by HTTP, each bounded in size and time, and the pages of labels that they answer with.

A tool says in its answer where the next page is; `next_page` knows the ways of the tools that have a preset. A redirect
is refused, because a token would go with it to another server. No error quotes an answer: it may hold texts of users.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec

from driftgauge.connectors.base import ConnectorError

MAX_PAGE_BYTES = 256 * 2**20
MAX_PAGES = 10_000
TIMEOUT_S = 60.0

_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPDefaultErrorHandler,
)  # those of `urlopen` without files, FTP and redirects

TOKEN_HEADERS = {
    "label-studio": ("Authorization", "Token {}"),
    "argilla": ("X-Argilla-Api-Key", "{}"),
    "langfuse": ("Authorization", "Basic {}"),
    "langsmith": ("X-Api-Key", "{}"),
}
"""Header in which a tool takes its token; for all others ``Authorization: Bearer``."""


class StatusError(ConnectorError):
    """A server answered with a ``status`` that is an error."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text, retriable=status == 429 or status >= 500)
        self.status = status


def read_pages(url: str, preset: str = "", token: str = "") -> Iterator[tuple[int, bytes]]:
    """The pages from this address on, with their numbers from 1.

    Parameters
    ----------
    url : ``http`` or ``https``
    preset : the tool that answers
    token : empty: none is sent. One with a space is the whole value of the header, such as ``Bearer …``

    Raises
    ------
    ConnectorError
        When the address is none, the server does not answer in time or with an error, or a page is too large.
    """
    next_url: str | None = url
    for number in range(1, MAX_PAGES + 1):
        if next_url is None:
            return
        page = exchange(next_url, _headers(preset, token))
        yield number, page
        next_url = next_page(next_url, page)
    if next_url is not None:
        raise ConnectorError(f"more than {MAX_PAGES} pages", retriable=False)


def next_page(url: str, page: bytes) -> str | None:
    """The address of the page after this one; None where it is the last.

    >>> next_page("https://a/scores?limit=2", b'{"data": [], "meta": {"page": 1, "totalPages": 3}}')
    'https://a/scores?limit=2&page=2'
    >>> next_page("https://a/spans", b'{"data": [], "next_cursor": "x="}'), next_page("https://a/spans", b"[]")
    ('https://a/spans?cursor=x%3D', None)
    """
    try:
        found = msgspec.json.decode(page, type=_Page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found.next_cursor, str) and found.next_cursor:
        return _with(url, "cursor", found.next_cursor)
    if isinstance(found.next_page_token, str) and found.next_page_token:
        return _with(url, "page_token", found.next_page_token)
    if found.meta is not None and found.meta.page < found.meta.totalPages:
        return _with(url, "page", str(found.meta.page + 1))
    return None


class _Meta(msgspec.Struct):
    page: int = 0
    totalPages: int = 0  # noqa: N815 - the name in the answer of Langfuse


class _Page(msgspec.Struct):
    next_cursor: Any = None
    next_page_token: Any = None
    meta: _Meta | None = None


def _headers(preset: str, token: str) -> dict[str, str]:
    if not token:
        return {"Accept": "application/json"}
    name, form = TOKEN_HEADERS.get(preset, ("Authorization", "Bearer {}"))
    return {"Accept": "application/json", name: token if " " in token else form.format(token)}


def exchange(url: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes | None = None) -> bytes:
    """The body of the answer to one request.

    Raises
    ------
    StatusError
        When the server answers with an error or a redirect.
    ConnectorError
        When the address is none, the server does not answer in time, or the answer is too large.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConnectorError("the address must begin with http:// or https://", retriable=False)
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    place = shown_url(url)
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - the scheme is checked
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            page: bytes = answer.read(MAX_PAGE_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise StatusError(f"{place} answers with status {error.code}{_hint(error.code)}", error.code) from error
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ConnectorError(f"{place} cannot be read: {reason}", retriable=True) from error
    except (ValueError, http.client.InvalidURL):  # their texts quote the address or the token
        text = f"{place} cannot be asked: the address or the token has characters that HTTP does not allow"
        raise ConnectorError(text, retriable=False) from None
    except http.client.HTTPException as error:
        raise ConnectorError(f"{place} does not answer in HTTP: {type(error).__name__}", retriable=True) from error
    if len(page) > MAX_PAGE_BYTES:
        raise ConnectorError(f"{place} sends more than {MAX_PAGE_BYTES} bytes: ask for smaller pages", retriable=False)
    return page


def _hint(status: int) -> str:
    if 300 <= status < 400:
        return "; a redirect is not followed: give the address it leads to"
    return "; check the token and what it may do" if status in (401, 403) else ""


def shown_url(url: str) -> str:
    """The address without a password and without its query, either of which may hold a secret.

    >>> shown_url("https://me:secret@a.example:8080/scores?token=secret")
    'https://a.example:8080/scores'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _with(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    query = {**parse_qs(parts.query, keep_blank_values=True), name: [value]}
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
