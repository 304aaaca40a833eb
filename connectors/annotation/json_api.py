"""Requests to the JSON API of one annotation tool; bounds and rules are those of `connectors.labels.web`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.labels.web import StatusError, exchange, shown_url

UNAUTHORIZED = 401


class Credentials(Protocol):
    """What a tool wants to see with each request."""

    def headers(self) -> Mapping[str, str]:
        """The headers that authorise a request."""
        ...

    def renew(self) -> bool:
        """Called after a refusal: whether there are other headers now."""
        ...


class ApiKey:
    """A token that is sent as it is, in one header."""

    def __init__(self, header: str, token: str) -> None:
        self._headers = {header: token}

    def headers(self) -> Mapping[str, str]:
        """The header with the token."""
        return self._headers

    def renew(self) -> bool:
        """A token that was refused stays so."""
        return False


class JsonApi:
    """The API of one server.

    Parameters
    ----------
    url : address that every path is appended to
    credentials : None: the requests carry none
    """

    def __init__(self, url: str, credentials: Credentials | None = None) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The decoded answer to one request; None where it is empty.

        Raises
        ------
        StatusError
            When the server answers with an error.
        ConnectorError
            When it does not answer, or not with JSON.
        """
        url = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        data = None if body is None else msgspec.json.encode(body)
        try:
            answer = self._exchange(method, url, data)
        except StatusError as error:
            if error.status != UNAUTHORIZED or self._credentials is None or not self._credentials.renew():
                raise
            answer = self._exchange(method, url, data)
        try:
            return msgspec.json.decode(answer) if answer else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ConnectorError(f"{shown_url(url)} does not answer with JSON", retriable=False) from None

    def _exchange(self, method: str, url: str, data: bytes | None) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        own = {} if self._credentials is None else self._credentials.headers()
        return exchange(url, {**headers, **own}, method=method, body=data)
